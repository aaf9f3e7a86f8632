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
from time import perf_counter
from typing import Any

import pandas as pd
from torch import Tensor

from wanda_core.errors import Refused, Stopped
from wanda_core.evaluation import perplexity
from wanda_core.files import write_whole
from wanda_core.models import LanguageModel
from wanda_core.prune import conditions, default_micro_batch, prune
from wanda_core.pruning import Pruning
from wanda_core.recipe import Recipe

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
Row = dict[str, Any]
OnProgress = Callable[[str, float, str], None]
"""Called with what is being done, the share of it that is done, and where in the model or text it is."""


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
    on_row: Callable[[Row, Pruning | None], None] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[Row]:
    """Measure the dense model and every recipe on the same windows.

    Args:
        tokens: calibration windows, int64 (samples, length).
        windows: evaluation windows, int64 (windows, length).
        known: rows of an earlier comparison under the same protocol; those that succeeded are not measured again.
        on_row: called with each row as it is there, and its pruning where one was made now.

    Returns:
        Rows with the keys of `COLUMNS`, the dense baseline first. A recipe that fails leaves its reason in `error`;
        the others go on.

    Raises:
        Stopped: `stop` was set; `on_row` has seen all rows measured until then.
    """
    done = {_key(row): row for row in known if row["error"] is None}
    rows = []
    for recipe in (None, *recipes):
        if stop is not None and stop.is_set():
            raise Stopped
        row = done.get(_key(_row(recipe, tokens)))
        pruning = None
        if row is None:
            row, pruning = measure(model, tokens, windows, recipe, on_progress, stop)
        rows.append(row)
        if on_row:
            on_row(row, pruning)
    return rows


def measure(
    model: LanguageModel,
    tokens: Tensor,
    windows: Tensor,
    recipe: Recipe | None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> tuple[Row, Pruning | None]:
    """Prune by `recipe` (None: leave dense) and evaluate: the row, and the pruning; arguments as in `compare`."""
    row, pruning = _row(recipe, tokens), None
    label = "dense" if recipe is None else describe(recipe)

    def progress_of(doing: str) -> Callable[[float, str], None] | None:
        return on_progress and (lambda share, where: on_progress(f"{doing} {label}", share, where))

    def evaluate() -> None:
        start = perf_counter()
        measured = perplexity(model.network, windows, on_progress=progress_of("evaluating"), stop=stop)
        row["evaluate_seconds"] = perf_counter() - start
        row["perplexity"] = measured.value
        row["perplexity_low"], row["perplexity_high"] = measured.low, measured.high

    try:
        if recipe is None:
            evaluate()
        else:
            pruning = prune(model.anatomy, tokens, recipe, on_progress=progress_of("pruning"), stop=stop)
            row["prune_seconds"] = pruning.seconds["total"]
            row["sparsity_reached"] = pruning.sparsity
            with pruning.applied(model.anatomy):
                evaluate()
    except Refused as error:
        row["error"] = str(error)
    return row, pruning


def describe(recipe: Recipe) -> str:
    """`wanda 50%` or `wanda 2:4`."""
    return (
        f"{recipe.method} {recipe.pattern if recipe.parsed_pattern.structured else f'{recipe.sparsity:.0%}'}"
    )


def _row(recipe: Recipe | None, tokens: Tensor) -> Row:
    """A row with what is known before anything is measured."""
    row: Row = dict.fromkeys(COLUMNS)
    if recipe is None:
        return row | {"method": "dense", "sparsity": 0.0, "sparsity_reached": 0.0}
    named = {key: value for key, value in recipe.as_dict().items() if key in row}
    return row | named | {"samples": len(tokens)}


def _key(row: Row) -> tuple[Any, ...]:
    """What names a point, before it is measured."""
    return tuple(row[column] for column in COLUMNS[:9] if column != "sparsity_reached")


def not_among(rows: Iterable[Row], known: Iterable[Row]) -> list[Row]:
    """Those of the known rows whose points are not among `rows`."""
    measured = {_key(row) for row in rows}
    return [row for row in known if _key(row) not in measured]


def _digest(tokens: Tensor) -> str:
    return hashlib.sha256(tokens.cpu().numpy().tobytes()).hexdigest()[:16]


def table(rows: list[Row]) -> pd.DataFrame:
    """The rows as one tidy table."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


def save_json(file: Path, measured_by: dict[str, Any], rows: list[Row]) -> None:
    """Write `{"protocol", "rows"}`; what cannot be a JSON number (an infinite perplexity, NaN) is null."""
    finite = [{key: _finite(value) for key, value in row.items()} for row in rows]
    write_whole(file, json.dumps({"protocol": measured_by, "rows": finite}, indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_json(file: Path) -> tuple[dict[str, Any], list[Row]]:
    """Protocol and rows of an earlier comparison.

    Raises:
        Refused: the file is damaged or of another kind.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        measured_by, rows = content["protocol"], content["rows"]
        if not isinstance(measured_by, dict) or any(set(row) != set(COLUMNS) for row in rows):
            raise KeyError
    except (OSError, UnicodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{file} does not hold the results of a comparison") from error
    return measured_by, rows


def save_csv(file: Path, rows: list[Row]) -> None:
    """Write the rows as CSV with a header line."""
    write_whole(file, table(rows).to_csv(index=False, quoting=csv.QUOTE_MINIMAL))
