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

SCHEMA = 2
"""Version of the rows; files of earlier versions are migrated as they are read."""

NAMING = (
    "method",
    "sparsity",
    "pattern",
    "group",
    "allocation",
    "schedule",
    "recovery",
    "order",
    "bits",
    "samples",
    "seed",
)
"""Columns that name a point, known before it is measured."""

COLUMNS = (
    "method",
    "sparsity",
    "sparsity_reached",
    "pattern",
    "group",
    "allocation",
    "schedule",
    "recovery",
    "order",
    "bits",
    "bytes_file",
    "bytes_packed",
    "bytes_deflated",
    "samples",
    "seed",
    "perplexity",
    "perplexity_low",
    "perplexity_high",
    "kl_to_dense",
    "top1_changed",
    "window_losses",
    "evaluation_sha256",
    "prune_seconds",
    "evaluate_seconds",
    "error",
)

WORDS = (
    "method", "pattern", "group", "allocation", "schedule", "calibration", "recovery", "order", "evaluation_sha256",
)  # fmt: skip
"""Columns that hold words; all others hold numbers, but for `window_losses` and `error`."""

NEW_IN_2 = {
    "recovery": "none",
    "order": "none",
    "bits": 16,
    "bytes_file": None,
    "bytes_packed": None,
    "bytes_deflated": None,
    "kl_to_dense": None,
    "top1_changed": None,
    "window_losses": None,
    "evaluation_sha256": None,
}
"""Columns that schema 1 did not have, with what a row of schema 1 holds in them."""

FORMULA = ("=", "+", "-", "@", "\t")
"""What a formula of a spreadsheet may begin with."""

SWEPT = ("calibration", "masks_differ")
"""What a sweep adds to a row: the text it was calibrated on, and the share of the weights that the first calibration
measured kept and this one prunes, or the other way round (None: not known)."""


Row = dict[str, Any]


def table(rows: list[Row]) -> pd.DataFrame:
    """The rows as one tidy table: `COLUMNS`, then those that a sweep over calibrations adds."""
    more = [column for column in (rows[0] if rows else ()) if column not in COLUMNS]
    return pd.DataFrame(rows, columns=[*COLUMNS, *more])


def to_json(measured_by: dict[str, Any], rows: list[Row], **more: Any) -> str:
    """`{"schema", "protocol", "rows"}`; what cannot be a JSON number (an infinite perplexity, NaN) is null.

    Args:
        more: further keys beside them.
    """
    content = finite({"schema": SCHEMA, "protocol": measured_by, "rows": rows, **more})
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def to_csv(rows: list[Row]) -> str:
    """The rows with a header line, without the losses of single windows: a list has no place in a cell. A text that a
    spreadsheet would take for a formula has an apostrophe before it."""
    return (
        table(rows)
        .drop(columns="window_losses")
        .map(_no_formula)
        .to_csv(index=False, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    )


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    line = " ".join(
        cell.splitlines()
    )  # pandas leaves a carriage return unquoted, and a new row would begin there
    return f"'{line}" if line.startswith(FORMULA) else line


def save_json(file: Path, measured_by: dict[str, Any], rows: list[Row]) -> None:
    """Write `to_json` to a file, in one step."""
    write_whole(file, to_json(measured_by, rows))


def finite(value: Any) -> Any:
    """The same with None for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rows_of(content: Any) -> list[Row]:
    """The rows of a result, brought to this schema.

    Args:
        content: what the JSON file holds, of this version or an earlier one.

    Raises:
        Refused: it is of a later version, or holds no such rows.
    """
    wrong = Refused("it does not hold the results of a comparison")
    if not isinstance(content, dict):
        raise wrong
    schema = content.get("schema", 1)
    if isinstance(schema, bool) or schema not in (1, SCHEMA):
        raise Refused(
            f"its schema is {str(schema)[:20]}, this version reads up to {SCHEMA}: update Wanda Lab"
        )
    columns = set(COLUMNS) if schema == SCHEMA else set(COLUMNS) - set(NEW_IN_2)
    rows = content.get("rows")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and set(row) in (columns, columns | set(SWEPT)) for row in rows
    ):
        raise wrong
    if not all(_fits(column, value) for row in rows for column, value in row.items()):
        raise wrong
    if schema == SCHEMA:
        return rows
    swept = [column for column in SWEPT if rows and column in rows[0]]
    return [{column: (NEW_IN_2 | row)[column] for column in (*COLUMNS, *swept)} for row in rows]


def _fits(column: str, value: Any) -> bool:
    """Whether a value is of the kind that its column has; any may be missing."""
    if value is None:
        return True
    if column in WORDS or column == "error":
        return isinstance(value, str)
    if column == "window_losses":
        return isinstance(value, list) and all(is_number(each) for each in value)
    return is_number(value)


def is_number(value: object) -> bool:
    """A finite number; integers beyond what a float holds exactly are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 2**53 if isinstance(value, int) else math.isfinite(value)


def load_json(file: Path) -> tuple[dict[str, Any], list[Row]]:
    """Protocol and rows of an earlier comparison.

    Raises:
        Refused: the file is damaged, of another kind or of a later version.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows, measured_by = rows_of(content), content["protocol"]
        if not isinstance(measured_by, dict):
            raise TypeError
    except Refused as error:
        raise Refused(f"{file}: {error.text}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{file} does not hold the results of a comparison") from error
    return measured_by, rows


def save_csv(file: Path, rows: list[Row]) -> None:
    """Write `to_csv` to a file, in one step."""
    write_whole(file, to_csv(rows))
