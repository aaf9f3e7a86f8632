"""Where two methods agree on a layer's weights, and where they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from wanda_core.inspection.layer import OpenLayer
from wanda_core.inspection.thresholds import Side

SCATTERED = 300
"""Single weights shown in the plane."""


BOTH_KEEP, ONLY_FIRST, ONLY_SECOND, BOTH_PRUNE = 3, 2, 1, 0
"""Agreement of two masks: 2 where the first keeps, plus 1 where the second does."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Shares of a layer's weights by what becomes of them under two methods; they sum to 1."""

    both_keep: float
    only_first: float
    only_second: float
    both_prune: float

    @classmethod
    def of(cls, first: Tensor, second: Tensor) -> Agreement:
        """From two masks (out_features, in_features)."""
        size = first.numel()
        a, b, both = (int(mask.count_nonzero()) for mask in (first, second, first & second))
        return cls(both / size, (a - both) / size, (b - both) / size, (size - a - b + both) / size)

    @property
    def differ(self) -> float:
        """Share of the weights that one method keeps and the other removes."""
        return self.only_first + self.only_second


@dataclass(frozen=True, eq=False)
class Weights:
    """Single weights with the arithmetic that decides them: arrays of one shape."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    norms: np.ndarray
    scores: tuple[np.ndarray, np.ndarray]
    """Of the first and of the second method."""
    thresholds: tuple[np.ndarray, np.ndarray]
    """Of the weight's comparison group; the weight goes where its score is at most that, but for ties."""
    agreement: np.ndarray
    """uint8: `BOTH_KEEP` and so on."""


def weights_at(layer: OpenLayer, sides: tuple[Side, Side], rows: slice, columns: slice) -> Weights:
    """A part of the layer, one entry per weight, (rows, columns)."""
    values = layer.weight[rows, columns].numpy()
    r = np.arange(layer.weight.shape[0])[rows]
    c = np.arange(layer.weight.shape[1])[columns]
    first, second = (side.mask[rows, columns].numpy().view(np.uint8) for side in sides)
    return Weights(
        rows=np.broadcast_to(r[:, None], values.shape),
        columns=np.broadcast_to(c, values.shape),
        values=values,
        norms=np.broadcast_to(layer.norms.numpy()[columns], values.shape),
        scores=_of_both(sides, lambda side: side.scored.scores[rows, columns].numpy()),
        thresholds=_of_both(sides, lambda side: side.thresholds(rows, columns)),
        agreement=2 * first + second,
    )


def scattered(layer: OpenLayer, sides: tuple[Side, Side]) -> Weights:
    """Some single weights from all over the layer, flat arrays of at most about `SCATTERED`."""
    height, width = layer.weight.shape
    # The same place in a 2-D low-discrepancy sequence whatever the settings, so that the weights stay put.
    index = np.arange(min(SCATTERED, height * width))
    r = (index * 0.7548776662 % 1 * height).astype(np.int64)
    c = (index * 0.5698402910 % 1 * width).astype(np.int64)
    values = layer.weight.numpy()[r, c]
    first, second = (side.mask.numpy()[r, c].view(np.uint8) for side in sides)
    return Weights(
        rows=r,
        columns=c,
        values=values,
        norms=layer.norms.numpy()[c],
        scores=_of_both(sides, lambda side: side.scored.scores.numpy()[r, c]),
        thresholds=_of_both(sides, lambda side: side.thresholds_at(r, c)),
        agreement=2 * first + second,
    )


def _of_both(sides: tuple[Side, Side], of: Callable[[Side], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    first, second = sides
    return of(first), of(second)
