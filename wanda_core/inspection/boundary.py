"""The line between pruned and kept in the plane of |W| and input norm."""

from __future__ import annotations

import numpy as np

from wanda_core.inspection.layer import OpenLayer
from wanda_core.inspection.thresholds import Side
from wanda_core.method.methods import METHODS


def boundary(side: Side, spread: np.ndarray, layer: OpenLayer) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lines (sizes, norms), weights left of which are pruned. None for a score that is not |W| or |W| times norm.

    A score of |W| has vertical lines; one of |W| times norm hyperbolas, which are straight on log axes.

    Args:
        side: a method's view of `layer`.
        spread: 5%, 50% and 95% quantile of its groups' thresholds, (3,); each has a line.
    """
    score = METHODS[side.recipe.method].score
    if score not in ("magnitude", "wanda"):
        return []
    if side.recipe.group == "input" and not side.recipe.parsed_pattern.structured:
        thresholds = side.thresholds(slice(0, 1), slice(None))[0]  # (in,): every column has its own
        norms = layer.norms.numpy()
        known = np.flatnonzero(np.isfinite(thresholds) & (norms > 0))[:: max(1, len(norms) // 500)]
        sizes = thresholds[known] / (norms[known] if score == "wanda" else 1)
        return [(sizes, norms[known])]
    ends = 10.0 ** layer.plane.norms[[0, -1]]
    levels = np.unique(spread[np.isfinite(spread) & (spread > 0)])
    return [(level / ends if score == "wanda" else np.repeat(level, 2), ends) for level in levels]
