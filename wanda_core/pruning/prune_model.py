"""Prune a model by a recipe: the walk and the method brought together."""

from __future__ import annotations

import threading
from time import perf_counter

from torch import Tensor

from wanda_core.errors import Refused, check_stop
from wanda_core.machine import refused_if_out_of_memory
from wanda_core.method.input_statistics import SAMPLE_ROWS, SAMPLE_ROWS_PER_WINDOW
from wanda_core.method.masks import check_divides
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe
from wanda_core.models.channel_order import ChannelOrder, check_order
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.allocation import sparsities_of
from wanda_core.pruning.block_scan import scan_blocks
from wanda_core.pruning.conditions import conditions, default_micro_batch
from wanda_core.pruning.decide_layer import LayerPruner
from wanda_core.pruning.dense_statistics import DenseStatistics, collect_statistics
from wanda_core.pruning.memory_needed import (
    refuse_if_too_large,
    refuse_model_recovery,
    values_in_memory,
    walk_bytes,
)
from wanda_core.pruning.model_recovery import recover_model
from wanda_core.pruning.order_channels import find_order
from wanda_core.pruning.parked_forward import OnProgress, ParkedForward
from wanda_core.pruning.recovery import HELD_OUT, TOKENS, BlockRecovery
from wanda_core.pruning.result import Pruning
from wanda_core.pruning.stage_clock import StageClock
from wanda_core.pruning.updated_weights import ChangedValues
from wanda_core.texts.windows import check_windows

SCAN_SHARE = 0.7
"""Of the progress, where blocks are scanned first."""
TRAINING_SHARE = 0.9
"""Of the progress, where the whole model is trained last."""


def prune(
    prunable: PrunableModel,
    tokens: Tensor,
    recipe: Recipe,
    *,
    micro_batch: int | None = None,
    gathered: DenseStatistics | None = None,
    order: ChannelOrder | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Pruning:
    """Decide the mask of every layer. The model itself is unchanged afterwards; see `Pruning.applied`.

    Args:
        prunable: the model, from `find_prunable_layers`.
        tokens: calibration windows, int64 (samples, length). A method that does not look at the inputs runs only the
            few windows that the report's output error is measured on.
        micro_batch: windows in one forward; None: `default_micro_batch`.
        gathered: the dense model's statistics on the same tokens, for recipes with schedule `dense`: no forward runs.
        order: of the channels, for recipes with one: then none is searched.
        on_progress: called with the share done and the layer's name.
        stop: set it from another thread to end with `Stopped`.

    Raises:
        Refused: the recipe does not fit the model, the memory does not suffice, or weights or inputs hold NaN.
        Stopped: `stop` was set.
    """
    _check(prunable, tokens, recipe)
    device = prunable.layers[0].stored.device
    with refused_if_out_of_memory(
        f"out of memory on {device} while pruning: "
        "lower {samples} or {length}, or choose block for {schedule}"
    ):
        return _prune(prunable, tokens, recipe, micro_batch, gathered, order, on_progress, stop)


def _prune(
    prunable: PrunableModel,
    tokens: Tensor,
    recipe: Recipe,
    micro_batch: int | None,
    gathered: DenseStatistics | None,
    order: ChannelOrder | None,
    on_progress: OnProgress | None,
    stop: threading.Event | None,
) -> Pruning:
    method = METHODS[recipe.method]
    allocation = recipe.named_allocation
    looks = allocation.needs_norms or allocation.needs_scan
    sparsities = None if looks else sparsities_of(prunable, recipe)
    if not recipe.needs_inputs:
        tokens = tokens[: -(-SAMPLE_ROWS // SAMPLE_ROWS_PER_WINDOW)]
    device = prunable.layers[0].stored.device
    samples, length = tokens.shape
    recovers = recipe.recovery == "blocks"
    trained = 0
    if recipe.recovery != "none":
        # A step for every micro-batch, and some of them held out.
        trained = micro_batch or max(1, min(TOKENS // length, samples // HELD_OUT))
        if samples <= trained:
            raise Refused(
                f"{{recovery}} {recipe.recovery} holds windows out of its training: give at least 2 {{samples}}"
            )
        if recovers:
            micro_batch = trained
        else:
            refuse_model_recovery(prunable, length, trained)
    micro_batch = min(samples, micro_batch or default_micro_batch(length, device))
    ordered = recipe.order != "none"
    shape = (prunable, samples, length, micro_batch, recipe.schedule, method.needs_gram, recovers)
    if gathered is None or recovers or ordered:
        refuse_if_too_large(*shape, ordered)
    changed = ChangedValues(values_in_memory(prunable, walk_bytes(*shape)))
    tokens = tokens.to(device)

    start = perf_counter()
    whole_progress = _part(on_progress, 1 - TRAINING_SHARE, TRAINING_SHARE)
    if recipe.recovery == "model":
        on_progress = _part(on_progress, 0, 1 - TRAINING_SHARE)
    result = Pruning(recipe, changed=changed, conditions=conditions(prunable, micro_batch))
    if allocation.needs_scan:
        # Several forwards of a few windows for each block: most of the work.
        result.scan = scan_blocks(
            prunable,
            tokens,
            recipe,
            micro_batch=micro_batch,
            on_progress=_part(on_progress, 0, SCAN_SHARE),
            stop=stop,
        )
        on_progress = _part(on_progress, SCAN_SHARE, 1 - SCAN_SHARE)
        sparsities = sparsities_of(prunable, recipe, result.scan)
        result.seconds["scan"] = perf_counter() - start
    elif sparsities is None:
        dense = gathered
        if dense is None:
            # The walk for the norms is the first half of the work.
            dense = collect_statistics(
                prunable,
                tokens,
                micro_batch=micro_batch,
                on_progress=_part(on_progress, 0, 0.5),
                stop=stop,
            )
            on_progress = _part(on_progress, 0.5, 0.5)
        norms = {layer: s.norms() for layer, s in dense.statistics.items()}
        sparsities = sparsities_of(prunable, recipe, norms)
    if ordered and order is None:
        order = _search_order(prunable, tokens, recipe, gathered, _part(on_progress, 0, 0.6), stop)
        on_progress = _part(on_progress, 0.6, 0.4)
        result.seconds["order"] = perf_counter() - start
    clock = StageClock()
    decision = LayerPruner(result, sparsities, clock, order if ordered else None)
    recovery = BlockRecovery(prunable, result, stop) if recovers else None
    if gathered is not None:
        _decide_all(gathered, decision, _part(on_progress, 0, 0.1 if recovers else 1), stop)
        on_progress = _part(on_progress, 0.1, 0.9)
    if gathered is None or recovers:
        walk = ParkedForward(
            prunable,
            tokens,
            decision,
            micro_batch=micro_batch,
            schedule=recipe.schedule,
            gram=method.needs_gram,
            recovery=recovery,
            decided=gathered is not None,
            on_progress=on_progress,
            stop=stop,
            clock=clock,
        )
        walk.run()
        result.uncalled, before = walk.inputs.uncalled, 0.0
    if gathered is not None:
        result.uncalled, before = gathered.uncalled, gathered.seconds
    if recipe.recovery == "model":
        with clock.stage("recovery", device):
            recover_model(
                prunable, tokens, result, micro_batch=trained, on_progress=whole_progress, stop=stop
            )
    if ordered and order is not None:
        result.put_in_order(prunable, order)
    if prunable.stream is not None:
        prunable.stream.files.check_unchanged()  # weights are read for decisions, too
    stages = clock.seconds()
    result.seconds |= {
        "total": before + perf_counter() - start,
        "statistics": before + stages.pop("statistics", 0.0),
        "decisions": sum(report.seconds for report in result.reports),
        "errors": stages.pop("errors", 0.0),
        **stages,
    }
    return result


def _search_order(
    prunable: PrunableModel,
    tokens: Tensor,
    recipe: Recipe,
    gathered: DenseStatistics | None,
    on_progress: OnProgress | None,
    stop: threading.Event | None,
) -> ChannelOrder:
    """An order of the channels, from the norms of the dense model's inputs. They are gathered in batches of the usual
    size, whatever the walk's: a norm's last bit could change the order, and points on the same text share one."""
    dense = gathered
    if dense is None:
        told = _part(on_progress, 0, 0.6)
        dense = collect_statistics(prunable, tokens, on_progress=told, stop=stop)
        on_progress = _part(on_progress, 0.6, 0.4)
    norms = {layer: statistics.norms() for layer, statistics in dense.statistics.items()}
    return find_order(prunable, norms, recipe.parsed_pattern, on_progress=on_progress, stop=stop)


def _decide_all(
    gathered: DenseStatistics,
    decision: LayerPruner,
    on_progress: OnProgress | None,
    stop: threading.Event | None,
) -> None:
    for done, (layer, statistics) in enumerate(gathered.statistics.items(), start=1):
        check_stop(stop)
        decision(layer, statistics)
        if on_progress:
            on_progress(done / len(gathered.statistics), layer.name)


def _part(on_progress: OnProgress | None, before: float, share: float) -> OnProgress | None:
    """Progress of a part of the work that starts when `before` of it is done."""
    return on_progress and (lambda done, where: on_progress(before + share * done, where))


def _check(prunable: PrunableModel, tokens: Tensor, recipe: Recipe) -> None:
    """Refuse what can be known to fail before the first forward."""
    check_windows("calibration", tokens, prunable.decoder)
    if recipe.order != "none":
        check_order(prunable)
    if recipe.named_allocation.needs_scan and prunable.stream is not None:
        raise Refused("{allocation} sensitivity would read the files once for every block: choose another")
    for layer in prunable.layers:
        check_divides(recipe.parsed_pattern, layer.name, layer.shape[1])
