"""Many weights in few numbers: histograms and densities of a layer, binned here so that pictures stay small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 80


PLANE = (64, 64)
"""Cells of the density of norms by sizes."""


DENSITY = (64, 96)
"""Most cells of the picture of a whole mask."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Scores of one method on a log axis."""

    edges: np.ndarray
    """log10 of the bins' borders, float64, (BINS + 1,)."""
    kept: np.ndarray
    """Weights in each bin that stay, int64, (BINS,)."""
    pruned: np.ndarray
    zeros: int
    """Weights whose score is 0, which has no place on a log axis; those of them that stay are `zeros_kept`."""
    zeros_kept: int


@dataclass(frozen=True, eq=False)
class Plane:
    """How many weights there are of each size and input norm."""

    sizes: np.ndarray
    """log10 of the borders in |W|, (PLANE[1] + 1,)."""
    norms: np.ndarray
    """log10 of the borders in the norm of the weight's input, (PLANE[0] + 1,)."""
    counts: np.ndarray
    """int64, PLANE: rows are norms."""


def plane(weight: np.ndarray, norms: np.ndarray) -> Plane:
    """Density of the weights (rows, columns); those that are 0, or whose input is, have no place on log axes."""
    sizes = np.abs(weight)
    columns, column_edges = places_on_log_axis(sizes.reshape(-1), PLANE[1])
    rows, row_edges = places_on_log_axis(norms, PLANE[0])
    cells = rows.astype(np.int64) * PLANE[1] + columns.reshape(sizes.shape)
    shown = (sizes > 0) & (norms > 0)
    counts = np.bincount(cells[shown], minlength=PLANE[0] * PLANE[1]).reshape(PLANE)
    return Plane(column_edges, row_edges, counts)


def mask_density(mask: np.ndarray) -> np.ndarray:
    """Share of the weights kept in each cell of a picture of the whole mask, in percent: float32, at most `DENSITY`."""
    bands = [_borders(size, most) for size, most in zip(mask.shape, DENSITY, strict=True)]
    # Rows first: adding uint8 in long runs is cheap, and what is left is small.
    by_rows = np.add.reduceat(mask.view(np.uint8), bands[0][:-1], axis=0, dtype=np.int32)
    sums = np.add.reduceat(by_rows, bands[1][:-1], axis=1)
    return (100 * sums / np.outer(np.diff(bands[0]), np.diff(bands[1]))).astype(np.float32)


def places_on_log_axis(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin of each value on a log axis, uint8, and the bins' borders in log10. Values of 0 are put in the first bin."""
    with np.errstate(divide="ignore"):
        logs = np.log10(np.minimum(values, np.finfo(np.float32).max))
    high = float(logs.max())
    if high == -np.inf:
        return np.zeros(len(values), np.uint8), np.linspace(-1, 0, bins + 1)
    # The lowest thousandth may reach far down and would squeeze the rest: it shares the first bin.
    some = logs[:: max(1, len(logs) // 65536)]
    some = some[some > -np.inf]
    low = float(np.quantile(some, 0.001)) if len(some) else high
    if high - low < 1e-3:  # all alike: one bar in the middle
        low, high = low - 0.5, high + 0.5
    scale = bins / (high - low)
    logs -= low
    logs *= scale
    return np.clip(logs, 0, bins - 1, out=logs).astype(np.uint8), np.linspace(low, high, bins + 1)


def _borders(size: int, most: int) -> np.ndarray:
    """`size` things in at most `most` bands as equal as can be: where each begins, and the end."""
    return np.linspace(0, size, min(size, most) + 1).astype(np.int64)
