"""How far can I go? Axes -> points, cheapest first, and their rows as they are measured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.experiments.measurement import Draw, Measured, Measurement, OnProgress
from wanda_core.experiments.points import DENSE, Calibration, Point
from wanda_core.experiments.rows import Row
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning


@dataclass(frozen=True)
class Axes:
    """What a sweep goes through: every method at every sparsity and pattern, on every calibration."""

    methods: tuple[str, ...]
    sparsities: tuple[float, ...] = ()
    patterns: tuple[str, ...] = ()
    samples: tuple[int, ...] = (16,)
    """Numbers of calibration windows."""
    seeds: tuple[int, ...] = (0,)
    texts: tuple[str, ...] = ("",)
    schedule: str = "layer"

    def points(self) -> list[Point]:
        """The dense model, then all points, cheapest first. What does not depend on the calibration (and, unless it is
        random, on the seed) is one point, on the first calibration.

        Raises:
            Refused: no such method, or a sparsity or pattern that cannot be.
        """
        first = Calibration(self.samples[0], self.texts[0], self.seeds[0])
        calibrations = [
            Calibration(n, t, seed) for t in self.texts for n in self.samples for seed in self.seeds
        ]
        found: dict[Point, None] = {}
        for method in self.methods:
            amounts = [Recipe(method=method, sparsity=s, schedule=self.schedule) for s in self.sparsities]
            amounts += [Recipe(method=method, pattern=p, schedule=self.schedule) for p in self.patterns]
            for calibration in calibrations:
                used = calibration
                if not METHODS[method].needs_inputs:
                    seed = calibration.seed if METHODS[method].random else first.seed
                    used = replace(first, seed=seed)
                for recipe in amounts:
                    found[Point(replace(recipe, seed=used.seed), used)] = None
        return [DENSE, *cheapest_first(found)]


def cheapest_first(points: Iterable[Point]) -> list[Point]:
    """By what pruning costs; then those of one calibration together, so that what it needs is made once."""
    points = list(points)
    order = {calibration: i for i, calibration in enumerate(dict.fromkeys(p.calibration for p in points))}

    def cost(point: Point) -> tuple[int, int, int]:
        if point.recipe is None or point.calibration is None:
            return (0, 0, 0)
        method = METHODS[point.recipe.method]
        kind = method.needs_inputs + method.needs_gram
        # One forward of the dense model serves all methods: there the calibrations come one after the other.
        if point.recipe.schedule == "dense" and kind:
            return (1, point.calibration.samples, order[point.calibration])
        return (kind, point.calibration.samples if kind else 0, order[point.calibration])

    return sorted(points, key=cost)


def sweep(
    model: LanguageModel,
    windows: Tensor,
    points: Sequence[Point],
    draw: Draw,
    *,
    known: Iterable[Row] = (),
    kept: Callable[[Point], Pruning | None] = lambda point: None,
    answers: DenseAnswers | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Measured]:
    """Measure the points one after the other; each as it is there.

    Args:
        windows: evaluation windows, int64 (windows, length).
        points: of `Axes.points`. Masks are compared with those of the first calibration measured.
        draw: gives a calibration's windows; asked once for those that come together.
        known: rows of an earlier sweep under the same protocol; those that succeeded are not measured again.
        kept: a point's earlier pruning: then evaluation alone runs.
        answers: the dense model's on these windows, from an earlier sweep, or empty ones to be filled.

    Returns:
        Points with rows of `COLUMNS` and `SWEPT`.

    Raises:
        Stopped: `stop` was set.
    """
    measurement = Measurement(
        model, windows, draw, kept=kept, answers=answers, on_progress=on_progress, stop=stop
    )
    references: dict[Recipe, Pruning] = {}
    for measured in measurement.measure(points, known):
        point = measured.point
        # A known row may come from a sweep that had another first calibration.
        differ, pruning = None, measured.pruning or (kept(point) if point.recipe else None)
        if pruning is not None:
            recipe = replace(pruning.recipe, seed=0)
            differ = share_differing(references.setdefault(recipe, pruning), pruning)
        text = point.calibration and point.calibration.text
        yield replace(measured, row=measured.row | {"calibration": text, "masks_differ": differ})


def share_differing(one: Pruning, other: Pruning) -> float:
    """Share of the weights, of the layers that both prune, that one keeps and the other removes."""
    common = [name for name in one.masks if name in other.masks]
    if one.order is None and other.order is None:
        differing = sum(int(np.bitwise_count(one.masks[n].bits ^ other.masks[n].bits).sum()) for n in common)
    else:  # by weight, whatever place its channels came to
        differing = sum(int((one.own_mask(n) ^ other.own_mask(n)).sum()) for n in common)
    weights = sum(len(one.masks[n].bits) * one.masks[n].columns for n in common)
    return differing / weights if weights else 0.0
