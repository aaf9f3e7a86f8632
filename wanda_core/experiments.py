"""Comparisons: recipes -> perplexities, one row for each measured point."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.files import write_whole
from wanda_core.models import LanguageModel
from wanda_core.points import (
    COLUMNS,
    DENSE,
    SWEPT,
    Calibration,
    Measurement,
    OnProgress,
    Point,
    Row,
    blank,
    name_of,
)
from wanda_core.prune import conditions, default_micro_batch
from wanda_core.pruning import Pruning
from wanda_core.recipe import Recipe


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
        Rows with the keys of `COLUMNS`, the dense baseline first. A recipe that fails leaves its reason in `error`;
        the others go on.

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


def table(rows: list[Row]) -> pd.DataFrame:
    """The rows as one tidy table: `COLUMNS`, then those that a sweep over calibrations adds."""
    more = [column for column in (rows[0] if rows else ()) if column not in COLUMNS]
    return pd.DataFrame(rows, columns=[*COLUMNS, *more])


def to_json(measured_by: dict[str, Any], rows: list[Row], **more: Any) -> str:
    """`{"protocol", "rows"}`; what cannot be a JSON number (an infinite perplexity, NaN) is null.

    Args:
        more: further keys beside them.
    """
    content = _finite({"protocol": measured_by, "rows": rows, **more})
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def to_csv(rows: list[Row]) -> str:
    """The rows with a header line."""
    return table(rows).to_csv(index=False, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")


def save_json(file: Path, measured_by: dict[str, Any], rows: list[Row]) -> None:
    """Write `to_json` to a file, in one step."""
    write_whole(file, to_json(measured_by, rows))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_json(file: Path) -> tuple[dict[str, Any], list[Row]]:
    """Protocol and rows of an earlier comparison.

    Raises:
        Refused: the file is damaged or of another kind.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        measured_by, rows = content["protocol"], content["rows"]
        kinds = (set(COLUMNS), {*COLUMNS, *SWEPT})
        if not isinstance(measured_by, dict) or any(set(row) not in kinds for row in rows):
            raise KeyError
    except (OSError, UnicodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{file} does not hold the results of a comparison") from error
    return measured_by, rows


def save_csv(file: Path, rows: list[Row]) -> None:
    """Write `to_csv` to a file, in one step."""
    write_whole(file, to_csv(rows))
