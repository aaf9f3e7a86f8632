"""One point of a comparison or sweep: what is to be measured, and what names its row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from wanda_core.experiments.rows import COLUMNS, NAMING, Row
from wanda_core.method.recipe import Recipe, name_suffix


@dataclass(frozen=True)
class Calibration:
    """Which windows a point is calibrated on."""

    samples: int
    text: str = ""
    """What the caller knows the text by."""
    seed: int = 0
    """Of the places of the windows."""


@dataclass(frozen=True)
class Point:
    """What is to be measured; no recipe: the dense model."""

    recipe: Recipe | None
    calibration: Calibration | None
    bits: int = 16
    """That the dense model's layers are rounded to; a recipe has its own."""


DENSE = Point(None, None)


def with_dense(points: Iterable[Point]) -> list[Point]:
    """The dense model, the same at every number of bits that the points have, then the points."""
    points = list(points)
    bits = {point.recipe.bits for point in points if point.recipe} - {DENSE.bits}
    return [DENSE, *(replace(DENSE, bits=each) for each in sorted(bits, reverse=True)), *points]


def describe(recipe: Recipe) -> str:
    """`wanda 50%`, `wanda 2:4 ordered`, `wanda 50% recovered`, or `wanda 50% 8-bit`."""
    amount = recipe.pattern if recipe.parsed_pattern.structured else f"{recipe.sparsity:.0%}"
    return f"{recipe.method} {amount}{name_suffix(recipe.as_dict())}"


def blank(point: Point) -> Row:
    """A row with what is known before anything is measured."""
    row: Row = dict.fromkeys(COLUMNS) | {"recovery": "none", "order": "none", "bits": point.bits}
    if point.recipe is None:
        return row | {"method": "dense", "sparsity": 0.0, "sparsity_reached": 0.0}
    named = {key: value for key, value in point.recipe.as_dict().items() if key in row}
    return row | named | {"samples": point.calibration and point.calibration.samples}


def name_of(row: Row) -> tuple[Any, ...]:
    """What names a row's point, before it is measured."""
    return (*(row[column] for column in NAMING), row.get("calibration") or "")


def name_of_point(point: Point) -> tuple[Any, ...]:
    """What names the row that the point will have."""
    return name_of(blank(point) | {"calibration": point.calibration and point.calibration.text})
