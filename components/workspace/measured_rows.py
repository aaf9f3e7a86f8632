"""Rows measured before, so that no point is measured twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.cache import Store
from components.limits import LIMITS
from components.workspace.experiment import Subject
from components.workspace.prunings import kept_pruning
from components.workspace.setup import Setup
from wanda_core.method.recipe import Recipe

_rows: Store[dict[str, Any]] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""Measured rows, by weights, tokens and recipe: thirty students pressing the same Run compute it once."""


ROW_BYTES = 1000


def keep_row(subject: Subject, recipe: Recipe | str | None, row: dict[str, Any]) -> None:
    """Remember a measured row: a pruning's, one that is named by a word, or (no recipe) the dense model's."""
    _rows.put(_row_key(subject, recipe), row, ROW_BYTES)


def kept_row(subject: Subject, recipe: Recipe | str | None) -> dict[str, Any] | None:
    """The row that was measured before, on the same windows."""
    return _rows.get(_row_key(subject, recipe))


def _row_key(subject: Subject, recipe: Recipe | str | None) -> tuple[Any, ...]:
    evaluation = subject.protocol["evaluation_sha256"]
    if recipe is None:
        return (subject.model.fingerprint, evaluation)
    return (*subject.key(recipe), evaluation)


def known_rows(subject: Subject, recipes: Sequence[Recipe | None]) -> list[dict[str, Any]]:
    """The rows of earlier runs whose prunings are kept, too: the page shows both."""
    shown = [r for r in recipes if r is None or kept_pruning(subject, r) is not None]
    return [row for recipe in shown if (row := kept_row(subject, recipe))]


runs_store: Store[bool] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""Setup and recipe of the points that were measured, by whomever."""


def has_run(setup: Setup, recipes: Sequence[Recipe]) -> bool:
    """Whether any of these recipes was measured on that setup not long ago."""
    return any(runs_store.get((setup.digest, recipe)) for recipe in recipes)
