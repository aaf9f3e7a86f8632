"""How sensitive is each block? Every block pruned alone, and the loss of the whole model measured.

The inputs of a block that is pruned alone are the dense model's. So one calibration pass decides the masks of all
blocks, and block i's loss needs only the blocks from i on: those before it return what they returned in the dense
forward, which is kept for one window at a time. Of L blocks that takes L + (L + (L - 1) + ... + 1) = L (L + 3) / 2
block evaluations for each window, where pruning and evaluating block after block takes L (L + 1).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wanda_core.errors import Refused, check_stop
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe
from wanda_core.models.prunable_layers import Layer, PrunableModel
from wanda_core.models.replaced_forward import ReplacedForward
from wanda_core.pruning.decide_layer import LayerPruner
from wanda_core.pruning.parked_forward import OnProgress, ParkedForward
from wanda_core.pruning.result import BlockScan, Pruning
from wanda_core.pruning.stage_clock import StageClock

SCAN_WINDOWS = 4
"""The loss is taken on so many calibration windows at most: blocks differ on the same windows far more than windows
change that."""


POSITIONS = 256
"""Positions of a window whose logits are taken in float32 at a time."""


def scan_blocks(
    prunable: PrunableModel,
    tokens: Tensor,
    recipe: Recipe,
    *,
    micro_batch: int,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> BlockScan:
    """Prune every block alone by the recipe's method and sparsity, the same in all its layers, and measure the loss.

    Args:
        tokens: calibration windows, int64 (samples, length), on the model's device.

    Raises:
        Refused: the model runs a block more than once in a forward, or not at all, or has no finite loss.
        Stopped: `stop` was set.
    """
    tell = on_progress or (lambda share, where: None)
    with prunable.alone(stop):
        alone = _prune_alone(prunable, tokens, recipe, micro_batch, lambda s, w: tell(0.2 * s, w), stop)
        windows = tokens[:SCAN_WINDOWS]
        blocks = _CountedBlocks(prunable.blocks, stop)
        losses = []  # of every window: the dense model's, then each block's
        try:
            for number, window in enumerate(windows):
                told = partial(_part, tell, number, len(windows))
                losses.append(_losses_of(prunable, window, alone, blocks, told))
        finally:
            blocks.remove()
    dense, *pruned = (sum(each) / len(windows) for each in zip(*losses, strict=True))
    for index, loss in enumerate([dense, *pruned]):
        if not math.isfinite(loss):
            who = f"block {index - 1} pruned" if index else "the dense model"
            raise Refused(f"{{allocation}} sensitivity: {who} has no finite loss on the calibration windows")
    return BlockScan(dense, tuple(pruned), len(windows), blocks.evaluations, len(windows) * (1 + len(pruned)))


def _part(tell: OnProgress, number: int, windows: int, share: float, where: str) -> None:
    tell(0.2 + 0.8 * (number + share) / windows, where)


def _prune_alone(
    prunable: PrunableModel,
    tokens: Tensor,
    recipe: Recipe,
    micro_batch: int,
    on_progress: OnProgress,
    stop: threading.Event | None,
) -> Pruning:
    """Every layer decided by its input in the dense model, in one pass that holds one layer's statistics at a time."""
    assert recipe.sparsity is not None  # a recipe fills it in
    result, clock = Pruning(recipe), StageClock()
    pruner = LayerPruner(result, dict.fromkeys(prunable.layers, recipe.sparsity), clock)

    def decide(layer: Layer, statistics: InputStatistics) -> Tensor:
        pruner(layer, statistics)
        return layer.weight  # the pass goes on through the dense layer

    ParkedForward(
        prunable,
        tokens,
        decide,
        micro_batch=micro_batch,
        schedule="layer",
        gram=METHODS[recipe.method].needs_gram,
        on_progress=on_progress,
        stop=stop,
        clock=clock,
    ).run()
    return result


@torch.no_grad()
def _losses_of(
    prunable: PrunableModel,
    window: Tensor,
    alone: Pruning,
    blocks: _CountedBlocks,
    tell: Callable[[float, str], None],
) -> list[float]:
    """Loss of one window (length,): of the dense model, then with each block pruned alone."""
    count = len(prunable.blocks)
    blocks.keep()
    losses = [_loss(prunable.network, window)]
    blocks.check_kept()
    for index in range(count):
        blocks.replay(index)
        layers = [layer for layer in prunable.layers if layer.block == index and layer.name in alone.masks]
        with prunable.computing_with((layer, partial(alone.unrounded, layer)) for layer in layers):
            losses.append(_loss(prunable.network, window))
        computed = (index + 1) * (2 * count - index) / (count * (count + 1))
        tell(computed, f"block {index + 1} of {count} pruned alone")
    return losses


def _loss(network: Any, window: Tensor) -> float:
    """Mean negative log-likelihood of the predicted tokens of a window (length,), in nats."""
    logits = network(input_ids=window[None], use_cache=False).logits[0, :-1]  # (length - 1, vocabulary)
    targets = window[1:]
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for start in range(0, len(targets), POSITIONS):
        at = slice(start, start + POSITIONS)
        total += functional.cross_entropy(logits[at].float(), targets[at], reduction="sum").double()
    return total.item() / len(targets)


class _CountedBlocks:
    """The blocks of a decoder, their forwards counted, and those before a place replayed, until `remove`."""

    def __init__(self, blocks: Sequence[nn.Module], stop: threading.Event | None) -> None:
        self.evaluations = 0
        self._stop = stop
        self._first = 0
        self._keeping = False
        self._values: list[list[Any]] = [[] for _ in blocks]
        self._replaced = [
            ReplacedForward(block, partial(self._forward, index, block.forward))
            for index, block in enumerate(blocks)
        ]

    def keep(self) -> None:
        """Keep what every block returns in the next forward, in place of what was kept before."""
        self._first, self._keeping = 0, True
        self._values = [[] for _ in self._values]

    def check_kept(self) -> None:
        """Refuse a forward that did not run every block once."""
        for index, values in enumerate(self._values):
            if len(values) != 1:
                times = "more than once" if values else "not at all"
                raise Refused(
                    f"{{allocation}} sensitivity does not apply: block {index} runs {times} in a forward"
                )

    def replay(self, first: int) -> None:
        """Let the blocks before `first` return what was kept, without computing."""
        self._first, self._keeping = first, False

    def remove(self) -> None:
        for replaced in self._replaced:
            replaced.remove()

    def _forward(self, index: int, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        check_stop(self._stop)
        if index < self._first:
            return _copy(self._values[index][0])
        self.evaluations += 1
        value = forward(*args, **kwargs)
        if self._keeping:
            self._values[index].append(_copy(value))
        return value


def _copy(value: Any) -> Any:
    """What a block returns, a tensor or a tuple of them: the next block may write to it."""
    if isinstance(value, tuple):
        return tuple(map(_copy, value))
    return value.clone() if isinstance(value, Tensor) else value
