"""Which rows of a sweep a table or chart shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.display.names import is_reference
from components.sweep.job import Swept

if TYPE_CHECKING:
    from wanda_core.experiments.budget import Reach

Row = dict[str, Any]


def ends(swept: Swept, percent: float) -> dict[str, Reach]:
    """The highest sparsity of every method within the budget; empty without the dense model's perplexity."""
    from wanda_core.experiments.budget import reach

    dense = dense_perplexity(swept.rows)
    points: dict[str, list[tuple[float, float]]] = {}
    for row in of_first_calibration(swept.rows):
        if not is_reference(row) and row["pattern"] == "unstructured":
            # What failed, or has no number, is over any budget.
            value = math.inf if row["perplexity"] is None else row["perplexity"]
            reached = row["sparsity"] if row["sparsity_reached"] is None else row["sparsity_reached"]
            points.setdefault(row["method"], []).append((reached, value))
    return {method: reach(own, dense, percent / 100) for method, own in points.items()} if dense else {}


def has_sensitivity(rows: Sequence[Row]) -> bool:
    """Whether there is more than one calibration."""
    return len({_calibration(row) for row in rows if not is_reference(row)}) > 1


def of_first_calibration(rows: Sequence[Row]) -> list[Row]:
    """Those on the calibration that most points have, the references, and what looks at no calibration; methods in a
    comparison group of their own are left out."""
    from wanda_core.method.methods import METHODS

    calibrations = [_calibration(row) for row in rows if not is_reference(row)]
    most = max(calibrations, key=calibrations.count, default=None)

    def shown(row: Row) -> bool:
        if is_reference(row):
            return True
        method = METHODS.get(row["method"])
        usual = row["pattern"] != "unstructured" or method is None or row["group"] in (None, method.group)
        free = method is not None and not method.needs_inputs
        return usual and (free or _calibration(row) == most)

    return [row for row in rows if shown(row)]


def tidy(rows: Sequence[Row]) -> list[Row]:
    """As `compare` writes them; with the columns of a sweep where there is more than one calibration."""
    from wanda_core.experiments.rows import SWEPT

    if has_sensitivity(rows):
        return list(rows)
    return [{key: value for key, value in row.items() if key not in SWEPT} for row in rows]


def dense_perplexity(rows: Sequence[Row]) -> float | None:
    """The dense model's perplexity, where it is there."""
    return next((row["perplexity"] for row in rows if row["method"] == "dense"), None)


def _calibration(row: Row) -> tuple[Any, ...]:
    return (row["calibration"], row["samples"], row["seed"])
