"""The line between pruned and kept in the plane of |W| and input norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.inside.opened_layer import Opened
from wanda_core.method.methods import METHODS


def boundary(side: Any, spread: np.ndarray, plane: Any, opened: Opened) -> list[tuple[list, list]]:
    """Lines (sizes, norms) left of which weights go: of the 5%, 50% and 95% threshold."""
    method = METHODS[side.recipe.method]
    if method.score not in ("magnitude", "wanda"):
        return []
    norms = 10.0 ** plane.norms[[0, -1]]
    if side.recipe.group == "input" and not side.recipe.parsed_pattern.structured:
        thresholds = side.thresholds(slice(0, 1), slice(None))[0]
        own = opened.layer.norms.numpy()
        known = np.flatnonzero(np.isfinite(thresholds) & (own > 0))[:: max(1, len(own) // 500)]
        sizes = thresholds[known] / (own[known] if method.score == "wanda" else 1)
        return [(sizes, own[known])]
    levels = np.unique(spread[np.isfinite(spread) & (spread > 0)])
    if method.score == "magnitude":
        return [([level, level], list(norms)) for level in levels]
    return [(list(level / norms), list(norms)) for level in levels]
