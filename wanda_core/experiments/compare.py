"""Comparisons: recipes -> perplexities, one row for each measured point."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from torch import Tensor

from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.experiments.measurement import Measurement, OnProgress
from wanda_core.experiments.points import Calibration, Point, name_of, with_dense
from wanda_core.experiments.rows import Row
from wanda_core.method.recipe import Recipe
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning


def compare(
    model: LanguageModel,
    tokens: Tensor,
    windows: Tensor,
    recipes: Iterable[Recipe],
    *,
    known: Iterable[Row] = (),
    kept: Callable[[Recipe], Pruning | None] = lambda recipe: None,
    answers: DenseAnswers | None = None,
    on_row: Callable[[Row, Pruning | None], None] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[Row]:
    """Measure the dense model, also in the bits of the recipes, and every recipe on the same windows.

    Args:
        tokens: calibration windows, int64 (samples, length).
        windows: evaluation windows, int64 (windows, length).
        known: rows of an earlier comparison under the same protocol; those that succeeded are not measured again.
        kept: an earlier pruning of these tokens, where there is one; then evaluation alone runs.
        answers: the dense model's on these windows, from an earlier comparison, or empty ones to be filled.
        on_row: called with each row as it is there, and its pruning unless the row was known.

    Returns:
        Rows with the keys of `rows.COLUMNS`, the dense baseline first. A recipe that fails leaves its reason in
        `error`; the others go on.

    Raises:
        Stopped: `stop` was set; `on_row` has seen all rows measured until then.
    """
    calibration = Calibration(len(tokens))
    measurement = Measurement(
        model,
        windows,
        lambda _: tokens,
        kept=lambda point: kept(point.recipe) if point.recipe else None,
        answers=answers,
        on_progress=on_progress,
        stop=stop,
    )
    points = with_dense(Point(recipe, calibration) for recipe in recipes)
    rows = []
    for measured in measurement.measure(points, known):
        rows.append(measured.row)
        if on_row:
            on_row(measured.row, measured.pruning)
    return rows


def not_among(rows: Iterable[Row], known: Iterable[Row]) -> list[Row]:
    """Those of the known rows whose points are not among `rows`."""
    measured = {name_of(row) for row in rows}
    return [row for row in known if name_of(row) not in measured]
