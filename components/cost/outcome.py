"""What a measurement has found, and which of its rows belong together."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from components.display.names import amount, contender, is_baseline, is_reference
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core.experiments.points import Point

Row = dict[str, Any]


class Asked(Protocol):
    """What was asked for: the job, as far as what it found needs to know it."""

    @property
    def setup(self) -> Setup: ...

    @property
    def points(self) -> tuple[Point, ...]: ...

    @property
    def int8(self) -> bool: ...

    @property
    def smaller(self) -> str: ...


@dataclass
class Outcome:
    """What a measurement has found so far; also the content of a recorded or saved one."""

    protocol: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    """Of `wanda_core.experiments.rows.COLUMNS` and `SWEPT`: a row for each of the job's points, in their order, then
    the references."""
    layers: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """By the index of a row: block, kind, sparsity and output error of every layer, in the model's order."""
    planned: int = 0
    """Rows there will be."""
    origin: str = "here"
    """`here`, `recorded` or `saved`."""
    run: str = field(default_factory=lambda: secrets.token_hex(16))
    """Names it, unguessably: the page holds it, and the server keeps the outcome by it."""
    asked: Asked | None = None
    """The job that measures it; None for a saved one, whose texts are not known here."""

    @property
    def dense(self) -> Row | None:
        """The dense model's row, once it is there and could be measured."""
        return next((row for row in self.rows if is_baseline(row) and row["perplexity"]), None)

    def focus_of(self, index: int) -> Focus | None:
        """The pruning of a row, as the other views take it; None for references and saved rows."""
        points = self.asked.points if self.asked else ()
        if not 0 <= index < min(len(points), len(self.rows)):
            return None
        recipe, calibration = points[index].recipe, points[index].calibration
        if self.asked is None or recipe is None or calibration is None or self.rows[index]["error"]:
            return None
        setup = replace(
            self.asked.setup,
            calibration=calibration.text,
            samples=calibration.samples,
            seed=calibration.seed,
        )
        return Focus(setup, recipe)

    def index_of(self, focus: Focus) -> int | None:
        """The row of the point in focus, if it is among these."""
        return next((index for index in range(len(self.rows)) if self.focus_of(index) == focus), None)


@dataclass(frozen=True)
class Group:
    """The rows of one point that differ in the calibration windows' seed alone."""

    rows: tuple[Row, ...]
    """Measured ones first; at least one."""
    indices: tuple[int, ...]
    """Their places in the outcome."""

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def measured(self) -> list[Row]:
        return [row for row in self.rows if row["perplexity"] is not None]

    @property
    def perplexity(self) -> float | None:
        """Geometric mean over the seeds: exp of the mean loss."""
        values = [row["perplexity"] for row in self.measured]
        return math.exp(sum(map(math.log, values)) / len(values)) if values else None

    @property
    def ends(self) -> tuple[float, float] | None:
        """95% interval over the text's windows; with several seeds their range."""
        values = [row["perplexity"] for row in self.measured]
        if len(values) > 1:
            return min(values), max(values)
        if not values or self.measured[0]["perplexity_low"] is None:
            return None
        return self.measured[0]["perplexity_low"], self.measured[0]["perplexity_high"]

    @property
    def losses(self) -> list[float] | None:
        """Mean loss of each evaluation window, averaged over the seeds; None where a row does not tell them."""
        each = [row.get("window_losses") for row in self.measured]
        if not each or not all(each):
            return None
        return [sum(window) / len(each) for window in zip(*each, strict=True)]

    def mean(self, column: str) -> float | None:
        """Mean of a column over the seeds, where all have it."""
        values = [row.get(column) for row in self.measured]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None


def groups(rows: Sequence[Row]) -> list[Group]:
    """The prunings among the rows: by amount, in each the methods in the order of the first amount."""
    columns = (
        "method", "sparsity", "pattern", "group", "allocation", "schedule", "recovery", "order", "bits",
        "samples", "calibration",
    )  # fmt: skip
    found: dict[tuple[Any, ...], list[int]] = {}
    for index, row in enumerate(rows):
        if not is_reference(row):
            # Its own key where nothing depends on the calibration.
            found.setdefault(tuple(str(row.get(column)) for column in columns), []).append(index)
    made = [Group(tuple(rows[index] for index in own), tuple(own)) for own in found.values()]
    order = _order([contender(group.first) for group in made])
    return sorted(made, key=lambda group: (_amount_order(group.first), order[contender(group.first)]))


def _order(methods: Sequence[str]) -> dict[str, int]:
    """Wanda first, then as they come."""
    distinct = sorted(dict.fromkeys(methods), key=lambda method: method != "wanda")
    return {method: place for place, method in enumerate(distinct)}


def _amount_order(row: Row) -> tuple[Any, ...]:
    """Unstructured by sparsity, then the patterns."""
    return (row["pattern"] != "unstructured", row["sparsity"] or 0, amount(row))
