"""A run: perplexities of the dense model and of every recipe, as they are measured."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from components.assets import ASSETS
from components.jobs.job import Job, Progress, Put
from components.workspace.experiment import prepare
from components.workspace.measured_rows import ROW_BYTES, keep_row, known_rows, runs_store
from components.workspace.prunings import keep_pruning, kept_pruning
from components.workspace.setup import Setup
from wanda_core.experiments.rows import rows_of
from wanda_core.method.recipe import Recipe


@dataclass
class Outcome:
    """What a run has measured so far; also the content of a recorded run."""

    protocol: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    layers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """For each pruned row, by `point_name`: block, kind, sparsity and error of every layer."""


@dataclass(frozen=True)
class Measure(Job):
    """Measure the dense model and every recipe."""

    setup: Setup
    recipes: tuple[Recipe, ...]

    @property
    def gpu_seconds(self) -> float:
        return 30 + 15 * len(self.recipes)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.experiments.compare import compare

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
                runs_store.put((self.setup.digest, recipe), True, ROW_BYTES)
            outcome.rows.append(row)
            if pruning is not None:
                outcome.layers[point_name(recipe)] = layer_figures(pruning)
            put(Outcome(outcome.protocol, list(outcome.rows), dict(outcome.layers)))

        compare(
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


def point_name(recipe: Any) -> str:
    """What a measured point is called on the page."""
    from wanda_core.experiments.points import describe

    return "dense" if recipe is None else describe(recipe)


def layer_figures(pruning: Any) -> list[dict[str, Any]]:
    """Block, kind, sparsity and error of every layer, in the model's order."""
    return [
        {"block": r.block, "kind": r.kind, "sparsity": round(r.sparsity, 5), "error": round(r.error, 5)}
        for r in pruning.reports
    ]


RECORDED = ASSETS / "recorded" / "smollm2-135m.json"


def recorded_run() -> Outcome:
    """The run that fills the page before anything was measured here."""
    content = json.loads(RECORDED.read_text(encoding="utf-8"))
    return Outcome(content["protocol"], rows_of(content), content["layers"])
