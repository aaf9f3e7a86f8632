"""A run: perplexities of the dense model and of every recipe, as they are measured."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.engine import Job, Progress, Put
from components.job import Setup
from components.settings import LIMITS
from components.store import Store
from components.subject import Subject, keep_pruning, kept_pruning, prepare
from wanda_core.recipe import Recipe


@dataclass
class Outcome:
    """What a run has measured so far; also the content of a recorded run."""

    protocol: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    layers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """For each pruned row, by `point_name`: block, kind, sparsity and error of every layer."""


_rows: Store[dict[str, Any]] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""Measured rows, by weights, tokens and recipe: thirty students pressing the same Run compute it once."""
ROW_BYTES = 1000


@dataclass(frozen=True)
class Measure(Job):
    """Measure the dense model and every recipe."""

    setup: Setup
    recipes: tuple[Recipe, ...]

    @property
    def gpu_seconds(self) -> float:
        return 30 + 15 * len(self.recipes)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core import experiments

        subject = prepare(self.setup, put)
        outcome = Outcome(subject.protocol)
        planned = [None, *self.recipes]
        known = known_rows(subject, planned)

        def on_progress(doing: str, share: float, where: str) -> None:
            pruning = doing.startswith("pruning")
            # Dense is one evaluation; every recipe is a pruning and an evaluation.
            done = 2 * len(outcome.rows) - bool(outcome.rows) + (bool(outcome.rows) and not pruning)
            put(Progress(f"{doing.capitalize()}: {where}", (done + share) / (1 + 2 * len(self.recipes))))

        def on_row(row: dict[str, Any], pruning: Any) -> None:
            recipe = planned[len(outcome.rows)]
            if pruning is not None:
                keep_pruning(subject, pruning)
            elif recipe is not None:
                pruning = kept_pruning(subject, recipe)
            if row["error"] is None:
                keep_row(subject, recipe, row)
                _runs.put((self.setup.digest, recipe), True, ROW_BYTES)
            outcome.rows.append(row)
            if pruning is not None:
                outcome.layers[point_name(recipe)] = layer_figures(pruning)
            put(Outcome(outcome.protocol, list(outcome.rows), dict(outcome.layers)))

        experiments.compare(
            subject.model,
            subject.tokens,
            subject.windows,
            self.recipes,
            known=known,
            kept=lambda recipe: kept_pruning(subject, recipe),
            on_row=on_row,
            on_progress=on_progress,
            stop=stop,
        )


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


_runs: Store[bool] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""Setup and recipe of the points that were measured, by whomever."""


def has_run(setup: Setup, recipes: Sequence[Recipe]) -> bool:
    """Whether any of these recipes was measured on that setup not long ago."""
    return any(_runs.get((setup.digest, recipe)) for recipe in recipes)


def point_name(recipe: Any) -> str:
    """What a measured point is called on the page."""
    from wanda_core.points import describe

    return "dense" if recipe is None else describe(recipe)


def layer_figures(pruning: Any) -> list[dict[str, Any]]:
    """Block, kind, sparsity and error of every layer, in the model's order."""
    return [
        {"block": r.block, "kind": r.kind, "sparsity": round(r.sparsity, 5), "error": round(r.error, 5)}
        for r in pruning.reports
    ]
