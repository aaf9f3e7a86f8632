"""Input statistics of every layer of the dense model, from one forward."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import perf_counter

from torch import Tensor

from wanda_core.method.input_statistics import InputStatistics
from wanda_core.models.prunable_layers import Layer, PrunableModel
from wanda_core.pruning.conditions import default_micro_batch
from wanda_core.pruning.memory_needed import refuse_if_too_large
from wanda_core.pruning.parked_forward import OnProgress, ParkedForward
from wanda_core.texts.windows import check_windows


@dataclass(frozen=True)
class DenseStatistics:
    """The dense model's input statistics: one forward serves every score, group, sparsity and pattern."""

    statistics: dict[Layer, InputStatistics]
    uncalled: list[str]
    seconds: float
    """What gathering took; counted in by every pruning made from it, as each would need it on its own."""


def collect_statistics(
    prunable: PrunableModel,
    tokens: Tensor,
    *,
    gram: bool = False,
    micro_batch: int | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> DenseStatistics:
    """Statistics of every layer's input in the dense model: one forward.

    Args:
        tokens: calibration windows, int64 (samples, length).
        gram: Gram matrices, too: for methods that change the weights they keep.

    Raises:
        Refused: the memory does not suffice.
        Stopped: `stop` was set.
    """
    check_windows("calibration", tokens, prunable.decoder)
    samples, length = tokens.shape
    device = prunable.layers[0].stored.device
    micro_batch = min(samples, micro_batch or default_micro_batch(length, device))
    refuse_if_too_large(prunable, samples, length, micro_batch, "dense", gram)
    statistics = {}

    def note(layer: Layer, seen: InputStatistics) -> Tensor:
        statistics[layer] = seen
        return layer.weight

    start = perf_counter()
    walk = ParkedForward(
        prunable,
        tokens.to(device),
        note,
        micro_batch=min(len(tokens), micro_batch or default_micro_batch(tokens.shape[1], device)),
        schedule="dense",
        gram=gram,
        on_progress=on_progress,
        stop=stop,
    )
    walk.run()
    return DenseStatistics(statistics, walk.inputs.uncalled, perf_counter() - start)
