"""Rows measured before, so that no point is measured twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.cache import Shelf
from components.workspace.experiment import Subject
from components.workspace.setup import Setup
from wanda_core.experiments.points import DENSE
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

Row = dict[str, Any]
ROW_BYTES = 2500
_rows: Shelf[Row] = Shelf("rows", told=True)
"""By weights, tokens and recipe: thirty students pressing the same Run compute it once."""
_measured: Shelf[bool] = Shelf("measured", told=True)
"""Setup and recipe of the points that were measured, by whomever: known without a model."""


def keep_row(subject: Subject, recipe: Recipe | str | None, row: Row, setup: Setup | None = None) -> None:
    """Remember a measured row: a pruning's, one that is named by a word, or (no recipe) the dense model's."""
    _rows.put(_key(subject, recipe), row, ROW_BYTES)
    if setup is not None:
        _measured.put(_asked(setup, recipe), True, 100)


def kept_row(subject: Subject, recipe: Recipe | str | None) -> Row | None:
    """The row that was measured before, on the same windows."""
    return _rows.get(_key(subject, recipe))


def has_measured(setup: Setup, recipe: Recipe | str | None) -> bool:
    """Whether that point was measured not long ago."""
    return bool(_measured.get(_asked(setup, recipe)))


def depends_on_seed(recipe: Recipe) -> bool:
    """Whether other calibration windows give another result: not where no activations are looked at."""
    return recipe.needs_inputs or METHODS[recipe.method].random


def dense_in(bits: int) -> str | None:
    """The word for the dense model rounded to so many bits; None as it is."""
    return None if bits == DENSE.bits else f"{bits} bits"


def _asked(setup: Setup, recipe: Recipe | str | None) -> tuple[Any, ...]:
    if not isinstance(recipe, Recipe):  # the dense model does not depend on the calibration windows
        return (setup.seeded(0).digest, recipe)
    if not depends_on_seed(recipe):
        setup = setup.seeded(0)
    return (setup.digest, replace(recipe, seed=setup.seed))


def _key(subject: Subject, recipe: Recipe | str | None) -> tuple[Any, ...]:
    evaluation = subject.protocol["evaluation_sha256"]
    if not isinstance(recipe, Recipe):  # whatever the calibration
        return (subject.model.fingerprint, recipe, evaluation)
    return (*subject.key(recipe), evaluation)
