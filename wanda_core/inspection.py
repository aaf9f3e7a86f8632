"""One layer laid open: which weights each of two methods removes, and why, in plain arrays.

From the dense weight and the norms of the layer's inputs alone, so that it can be had in milliseconds; the scores and
masks are those of a walk on the same statistics. A large layer's pictures are drawn from rows taken at even distances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from wanda_core.allocation import OUTLIER
from wanda_core.densities import BINS, Histogram, Plane, places_on_log_axis, plane
from wanda_core.errors import Refused
from wanda_core.masks import check_divides, choose
from wanda_core.methods import METHODS
from wanda_core.recipe import Recipe
from wanda_core.scores import scores_of

DRAWN_WEIGHTS = 2**21
"""Histograms and densities are drawn from at most about this many weights."""
SCATTERED = 300
"""Single weights shown in the plane."""
BOTH_KEEP, ONLY_FIRST, ONLY_SECOND, BOTH_PRUNE = 3, 2, 1, 0
"""Agreement of two masks: 2 where the first keeps, plus 1 where the second does."""


@dataclass(frozen=True, eq=False)
class OpenLayer:
    """A layer's dense weight and what its inputs look like."""

    name: str
    weight: Tensor
    """(out_features, in_features), float32, contiguous, on the CPU."""
    norms: Tensor
    """L2 norms of the input features over the calibration text, (in_features,), float32."""

    @classmethod
    def of(cls, name: str, weight: Tensor, norms: Tensor) -> OpenLayer:
        """
        Raises:
            Refused: the weight or the norms hold NaN or infinite values.
        """
        weight, norms = weight.float().cpu().contiguous(), norms.float().cpu()
        if not torch.isfinite(weight.sum(dtype=torch.float64)):
            raise Refused(f"the weights of {name} hold NaN or infinite values")
        if not torch.isfinite(norms).all():
            raise Refused(f"the input of {name} holds NaN or infinite values: try --dtype float32")
        return cls(name, weight, norms)

    @property
    def rows(self) -> slice:
        """The rows that pictures are drawn from."""
        return slice(None, None, -(-self.weight.numel() // DRAWN_WEIGHTS))

    @cached_property
    def plane(self) -> Plane:
        """Density of the drawn weights by size and input norm."""
        return plane(self.weight[self.rows].numpy(), self.norms.numpy())


@dataclass(frozen=True, eq=False)
class Scored:
    """A layer's scores by one method, with their places on the histogram's axis; the same for every sparsity."""

    scores: Tensor
    """(out_features, in_features), float32, on the CPU."""
    places: np.ndarray
    """Bin of each drawn weight, uint8, flat; BINS where the score is 0."""
    edges: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.scores.nbytes + self.places.nbytes

    def histogram(self, drawn_mask: np.ndarray) -> Histogram:
        """
        Args:
            drawn_mask: of the drawn rows, bool.
        """
        counts = np.bincount(
            self.places + np.uint8(BINS + 1) * drawn_mask.reshape(-1), minlength=2 * (BINS + 1)
        ).reshape(2, -1)
        pruned, kept = counts[:, :BINS]
        return Histogram(self.edges, kept, pruned, int(counts[:, BINS].sum()), int(counts[1, BINS]))


def score_layer(layer: OpenLayer, method: str, seed: int) -> Scored:
    """Score a layer by a method; SparseGPT, which has no score of its own, is shown on Wanda's."""
    scores = scores_of(METHODS[method].score or "wanda", layer.name, layer.weight, layer.norms, seed)
    # What is beyond float32 is as high as can be, here as where masks are chosen.
    drawn = scores[layer.rows].numpy().reshape(-1)
    places, edges = places_on_log_axis(drawn, BINS)
    return Scored(scores, np.where(drawn > 0, places, BINS).astype(np.uint8), edges)


def choose_mask(layer: OpenLayer, scored: Scored, recipe: Recipe) -> Tensor:
    """The mask that a walk on these statistics would give; bool, (out_features, in_features).

    Raises:
        Refused: the pattern does not fit the layer, or the method decides while it corrects.
    """
    if METHODS[recipe.method].score is None:
        raise Refused(
            f"{recipe.method} decides while it corrects, so it has no preview: press Run to see its own masks"
        )
    check_divides(recipe.parsed_pattern, layer.name, layer.weight.shape[1])
    return choose(scored.scores, recipe.parsed_pattern, recipe.sparsity, recipe.group)


@dataclass(frozen=True, eq=False)
class Side:
    """What one method makes of a layer."""

    recipe: Recipe
    scored: Scored
    mask: Tensor
    """bool, (out_features, in_features). True where the weight is kept."""

    def thresholds(self, rows: slice, columns: slice) -> np.ndarray:
        """For each weight of a part of the layer the highest score that goes in its comparison group, float32; NaN
        where nothing goes, or where the method has no score of its own."""
        scores, mask = self.scored.scores, self.mask
        shape = scores[rows, columns].shape
        if METHODS[self.recipe.method].score is None:
            return np.full(shape, np.nan, np.float32)
        pattern, group = self.recipe.parsed_pattern, self.recipe.group
        if pattern.structured:
            m = pattern.among
            start, stop, _ = columns.indices(scores.shape[1])
            first, last = start // m, -(-stop // m)
            part = slice(first * m, last * m)
            best = _highest(scores[rows, part].reshape(-1, m), mask[rows, part].reshape(-1, m), 1)
            spread = best.repeat_interleave(m).view(shape[0], -1)
            return spread[:, start - first * m : stop - first * m].numpy()
        if group == "output":
            best = _highest(scores[rows], mask[rows], 1).unsqueeze(1)
        elif group == "input":
            best = self.column_thresholds[columns].unsqueeze(0)
        else:
            best = self.layer_threshold
        return np.broadcast_to(best.numpy(), shape)

    def thresholds_at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """As `thresholds`, for single weights at these rows and columns, (n,) each."""
        scores, mask = self.scored.scores, self.mask
        if METHODS[self.recipe.method].score is None:
            return np.full(len(rows), np.nan, np.float32)
        if among := self.recipe.parsed_pattern.among:
            at = torch.from_numpy((columns // among * among)[:, None] + np.arange(among))  # (n, M)
            r = torch.from_numpy(rows)[:, None]
            return _highest(scores[r, at], mask[r, at], 1).numpy()
        if self.recipe.group == "layer":
            return np.repeat(self.layer_threshold.numpy()[0], len(rows))
        if self.recipe.group == "input":
            return self.column_thresholds.numpy()[columns]
        groups, where = np.unique(rows, return_inverse=True)
        picked = torch.from_numpy(groups)
        return _highest(scores[picked], mask[picked], 1).numpy()[where]

    @cached_property
    def column_thresholds(self) -> Tensor:
        """The highest score that goes in every input column, float32, (in_features,)."""
        return _none_as_nan(torch.stack([part.amax(dim=0) for part in self._pruned()]).amax(dim=0))

    @cached_property
    def layer_threshold(self) -> Tensor:
        """The highest score that goes anywhere in the layer, float32, (1, 1)."""
        return _none_as_nan(torch.stack([part.amax() for part in self._pruned()]).amax()).view(1, 1)

    def _pruned(self) -> Iterator[Tensor]:
        """The scores of what goes, -1 for what stays; rows by rows, so that they stay in the cache."""
        for scores, mask in zip(self.scored.scores.split(64), self.mask.split(64), strict=True):
            yield torch.where(mask, -1.0, scores)

    def spread(self, layer: OpenLayer) -> np.ndarray:
        """5%, 50% and 95% quantile of the comparison groups' thresholds, of the drawn rows; (3,), NaN without any."""
        if self.recipe.group == "layer":
            return np.repeat(self.thresholds(slice(0, 1), slice(0, 1))[0], 3)
        some = slice(None, None, max(1, layer.weight.shape[1] // 256))
        whole = slice(None)
        of_columns = self.recipe.group == "input"
        thresholds = self.thresholds(*((slice(0, 1), some) if of_columns else (layer.rows, whole)))
        if self.recipe.group == "output":
            thresholds = thresholds[:, :1]
        known = thresholds[np.isfinite(thresholds)]
        return np.quantile(known, (0.05, 0.5, 0.95)) if len(known) else np.full(3, np.nan)


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
        scores=tuple(side.scored.scores[rows, columns].numpy() for side in sides),
        thresholds=tuple(side.thresholds(rows, columns) for side in sides),
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
        scores=tuple(side.scored.scores.numpy()[r, c] for side in sides),
        thresholds=tuple(side.thresholds_at(r, c) for side in sides),
        agreement=2 * first + second,
    )


def outlier_inputs(norms: Tensor) -> np.ndarray:
    """Numbers of the input features whose norm is above `OUTLIER` times the layer's mean norm, highest first."""
    values = norms.cpu().numpy()
    above = np.flatnonzero(values > OUTLIER * values.mean(dtype=np.float64))
    return above[np.argsort(-values[above], kind="stable")]


def row_losses(layer: OpenLayer, mask: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Share of each output row's weights that go, and how far its output moves: two arrays, (out_features,).

    The second is `sqrt(sum_pruned (w_j ||X_j||)^2 / sum (w_j ||X_j||)^2)`: the relative output error, were the inputs
    uncorrelated; 0 for a row of zeros.
    """
    # Scaled, so that squares of very large weights stay finite.
    energy = (layer.weight.abs() / layer.weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)).square_()
    squares = (layer.norms / layer.norms.max().clamp_min(1e-30)).square()
    whole = energy @ squares
    gone = (energy * ~mask) @ squares
    lost = (gone / whole.clamp_min(1e-30)).clamp_(0, 1).sqrt_()
    return 1 - mask.float().mean(dim=1).numpy(), torch.where(whole > 0, lost, 0.0).numpy()


def _highest(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The highest score that goes, NaN where none does."""
    return _none_as_nan(torch.where(mask, -1.0, scores).amax(dim=dim))


def _none_as_nan(highest: Tensor) -> Tensor:
    return torch.where(highest < 0, torch.nan, highest)
