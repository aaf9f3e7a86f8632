"""Comparisons: recipes -> perplexities, one row for each measured point."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from torch import Tensor

from wanda_core.measurement import Measurement, OnProgress
from wanda_core.models import LanguageModel
from wanda_core.points import DENSE, Calibration, Point, blank, name_of
from wanda_core.prune import conditions, default_micro_batch
from wanda_core.pruning import Pruning
from wanda_core.recipe import Recipe
from wanda_core.tables import Row


def protocol(model: LanguageModel, tokens: Tensor, windows: Tensor, texts: dict[str, Any]) -> dict[str, Any]:
    """How the rows were measured: model, texts, windows, machine and versions.

    Args:
        tokens: calibration windows (samples, length).
        windows: evaluation windows (windows, length).
        texts: names of the texts and how windows were drawn from them.
    """
    micro_batch = min(len(tokens), default_micro_batch(tokens.shape[1], model.device))
    return {
        "source": model.source,
        "revision": model.revision,
        **texts,
        "samples": tokens.shape[0],
        "length": tokens.shape[1],
        "calibration_sha256": _digest(tokens),
        "windows": windows.shape[0],
        "eval_length": windows.shape[1],
        "evaluation_sha256": _digest(windows),
        **conditions(model.anatomy, micro_batch),
        "date": datetime.now(UTC).date().isoformat(),
    }


def compare(
    model: LanguageModel,
    tokens: Tensor,
    windows: Tensor,
    recipes: Iterable[Recipe],
    *,
    known: Iterable[Row] = (),
    kept: Callable[[Recipe], Pruning | None] = lambda recipe: None,
    on_row: Callable[[Row, Pruning | None], None] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[Row]:
    """Measure the dense model and every recipe on the same windows.

    Args:
        tokens: calibration windows, int64 (samples, length).
        windows: evaluation windows, int64 (windows, length).
        known: rows of an earlier comparison under the same protocol; those that succeeded are not measured again.
        kept: an earlier pruning of these tokens, where there is one; then evaluation alone runs.
        on_row: called with each row as it is there, and its pruning unless the row was known.

    Returns:
        Rows with the keys of `tables.COLUMNS`, the dense baseline first. A recipe that fails leaves its reason in
        `error`; the others go on.

    Raises:
        Stopped: `stop` was set; `on_row` has seen all rows measured until then.
    """
    calibration = Calibration(len(tokens))
    done = {name_of(row): row for row in known if row["error"] is None}
    measurement = Measurement(
        model,
        windows,
        lambda _: tokens,
        kept=lambda point: kept(point.recipe),
        on_progress=on_progress,
        stop=stop,
    )
    points = [DENSE, *(Point(recipe, calibration) for recipe in recipes)]
    rows = []
    for measured in measurement.measure(points, lambda point: done.get(name_of(blank(point)))):
        rows.append(measured.row)
        if on_row:
            on_row(measured.row, measured.pruning)
    return rows


def not_among(rows: Iterable[Row], known: Iterable[Row]) -> list[Row]:
    """Those of the known rows whose points are not among `rows`."""
    measured = {name_of(row) for row in rows}
    return [row for row in known if name_of(row) not in measured]


def _digest(tokens: Tensor) -> str:
    return hashlib.sha256(tokens.cpu().numpy().tobytes()).hexdigest()[:16]
