"""Prune a model by a recipe: the walk and the method brought together."""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
import transformers
from torch import Tensor

from wanda_core import allocation, memory
from wanda_core.activations import SAMPLE_ROWS, SAMPLE_ROWS_PER_WINDOW, InputStatistics
from wanda_core.decision import Decision
from wanda_core.errors import Refused, check_stop
from wanda_core.layers import Anatomy, Layer
from wanda_core.masks import check_divides
from wanda_core.methods import METHODS
from wanda_core.pruning import Pruning
from wanda_core.recipe import Recipe, parse_allocation
from wanda_core.walk import OnProgress, Walk
from wanda_core.windows import check_windows


def prune(
    anatomy: Anatomy,
    tokens: Tensor,
    recipe: Recipe,
    *,
    micro_batch: int | None = None,
    gathered: Gathered | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Pruning:
    """Decide the mask of every layer. The model itself is unchanged afterwards; see `Pruning.applied`.

    Args:
        anatomy: the model, from `take_apart`.
        tokens: calibration windows, int64 (samples, length). A method that does not look at the inputs runs only the
            few windows that the report's output error is measured on.
        micro_batch: windows in one forward; None: `default_micro_batch`.
        gathered: the dense model's statistics on the same tokens, for recipes with schedule `dense`: no forward runs.
        on_progress: called with the share done and the layer's name.
        stop: set it from another thread to end with `Stopped`.

    Raises:
        Refused: the recipe does not fit the model, the memory does not suffice, or weights or inputs hold NaN.
        Stopped: `stop` was set.
    """
    _check(anatomy, tokens, recipe)
    method = METHODS[recipe.method]
    owl = recipe.allocation == "owl"
    if not method.needs_inputs and not owl:
        tokens = tokens[: -(-SAMPLE_ROWS // SAMPLE_ROWS_PER_WINDOW)]
    device = anatomy.layers[0].stored.device
    samples, length = tokens.shape
    micro_batch = min(samples, micro_batch or default_micro_batch(length, device))
    if gathered is None:
        memory.refuse_if_too_large(anatomy, samples, length, micro_batch, recipe.schedule, method.needs_gram)
    tokens = tokens.to(device)

    start = perf_counter()
    result = Pruning(recipe, conditions=conditions(anatomy, micro_batch))
    try:
        if owl:
            if gathered is None:
                # The walk for the outliers is the first half of the work.
                outliers = gather(
                    anatomy,
                    tokens,
                    micro_batch=micro_batch,
                    on_progress=_part(on_progress, 0, 0.5),
                    stop=stop,
                )
                on_progress = _part(on_progress, 0.5, 0.5)
            norms = {layer: s.norms() for layer, s in (gathered or outliers).statistics.items()}
            sparsities = allocation.owl(anatomy, norms, recipe.sparsity)
        else:
            sparsities = allocation.explicit(anatomy, parse_allocation(recipe.allocation), recipe.sparsity)
        decision = Decision(result, sparsities)
        if gathered is None:
            walk = Walk(
                anatomy,
                tokens,
                decision,
                micro_batch=micro_batch,
                schedule=recipe.schedule,
                gram=method.needs_gram,
                on_progress=on_progress,
                stop=stop,
            )
            walk.run()
            result.uncalled, spent, before = walk.uncalled, walk.statistics_seconds, 0.0
        else:
            _decide_all(gathered, decision, on_progress, stop)
            result.uncalled, spent, before = gathered.uncalled, gathered.seconds, gathered.seconds
    except torch.OutOfMemoryError as error:
        raise Refused(
            f"out of memory on {device} while pruning: take fewer --samples, a smaller --length or --schedule block"
        ) from error
    result.seconds = {
        "total": before + perf_counter() - start,
        "statistics": spent,
        "decisions": sum(report.seconds for report in result.reports),
        "errors": decision.error_seconds,
    }
    return result


@dataclass(frozen=True)
class Gathered:
    """The dense model's input statistics: one forward serves every score, group, sparsity and pattern."""

    statistics: dict[Layer, InputStatistics]
    uncalled: list[str]
    seconds: float
    """What gathering took; counted in by every pruning made from it, as each would need it on its own."""


def gather(
    anatomy: Anatomy,
    tokens: Tensor,
    *,
    gram: bool = False,
    micro_batch: int | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Gathered:
    """Statistics of every layer's input in the dense model: one forward.

    Args:
        tokens: calibration windows, int64 (samples, length).
        gram: Gram matrices, too: for methods that change the weights they keep.

    Raises:
        Refused: the memory does not suffice.
        Stopped: `stop` was set.
    """
    check_windows("calibration", tokens, anatomy.decoder)
    samples, length = tokens.shape
    device = anatomy.layers[0].stored.device
    micro_batch = min(samples, micro_batch or default_micro_batch(length, device))
    memory.refuse_if_too_large(anatomy, samples, length, micro_batch, "dense", gram)
    statistics = {}

    def note(layer: Layer, seen: InputStatistics) -> Tensor:
        statistics[layer] = seen
        return layer.weight

    start = perf_counter()
    walk = Walk(
        anatomy,
        tokens.to(device),
        note,
        micro_batch=min(len(tokens), micro_batch or default_micro_batch(tokens.shape[1], device)),
        schedule="dense",
        gram=gram,
        on_progress=on_progress,
        stop=stop,
    )
    walk.run()
    return Gathered(statistics, walk.uncalled, perf_counter() - start)


def _decide_all(
    gathered: Gathered, decision: Decision, on_progress: OnProgress | None, stop: threading.Event | None
) -> None:
    for done, (layer, statistics) in enumerate(gathered.statistics.items(), start=1):
        check_stop(stop)
        decision(layer, statistics)
        if on_progress:
            on_progress(done / len(gathered.statistics), layer.name)


def _part(on_progress: OnProgress | None, before: float, share: float) -> OnProgress | None:
    """Progress of a part of the work that starts when `before` of it is done."""
    return on_progress and (lambda done, where: on_progress(before + share * done, where))


def default_micro_batch(length: int, device: torch.device) -> int:
    """Windows in one forward: about 2,048 tokens on a CPU, where larger activations only cost page faults."""
    return max(1, (2048 if device.type == "cpu" else 16384) // length)


def conditions(anatomy: Anatomy, micro_batch: int) -> dict[str, str | int]:
    """What beside recipe, calibration and weights decides every last bit of a result."""
    weight = anatomy.layers[0].stored
    return machine(weight.device, weight.dtype) | {"micro_batch": micro_batch}


def machine(device: torch.device, dtype: torch.dtype) -> dict[str, str | int]:
    """What computes, with how many threads, and versions."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The CPU's name; `platform` gives only its architecture on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _check(anatomy: Anatomy, tokens: Tensor, recipe: Recipe) -> None:
    """Refuse what can be known to fail before the first forward."""
    check_windows("calibration", tokens, anatomy.decoder)
    allocation.explicit(anatomy, parse_allocation(recipe.allocation), recipe.sparsity)
    for layer in anatomy.layers:
        check_divides(recipe.parsed_pattern, layer.name, layer.weight.shape[1])
