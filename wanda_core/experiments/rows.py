"""Results as data: one tidy table of rows, as CSV and JSON; opened again without the model, and without torch."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from wanda_core.atomic_write import write_whole
from wanda_core.errors import Refused

COLUMNS = (
    "method",
    "sparsity",
    "sparsity_reached",
    "pattern",
    "group",
    "allocation",
    "schedule",
    "samples",
    "seed",
    "perplexity",
    "perplexity_low",
    "perplexity_high",
    "prune_seconds",
    "evaluate_seconds",
    "error",
)


SWEPT = ("calibration", "masks_differ")
"""What a sweep adds to a row: the text it was calibrated on, and the share of the weights whose fate is
another than under the first calibration measured (None: not known)."""


Row = dict[str, Any]


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
        if not isinstance(measured_by, dict) or not all(
            isinstance(row, dict) and set(row) in kinds for row in rows
        ):
            raise KeyError
    except (OSError, UnicodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{file} does not hold the results of a comparison") from error
    return measured_by, rows


def save_csv(file: Path, rows: list[Row]) -> None:
    """Write `to_csv` to a file, in one step."""
    write_whole(file, to_csv(rows))
