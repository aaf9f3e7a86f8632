"""One method's view of a layer: scores, mask and the threshold of every comparison group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from wanda_core.inspection.layer import OpenLayer, Scored
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe


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


def _highest(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The highest score that goes, NaN where none does."""
    return _none_as_nan(torch.where(mask, -1.0, scores).amax(dim=dim))


def _none_as_nan(highest: Tensor) -> Tensor:
    return torch.where(highest < 0, torch.nan, highest)
