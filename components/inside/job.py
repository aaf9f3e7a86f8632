"""A look inside a model: one forward of the dense model, after which any layer can be opened at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from components.inside.kept_inspections import Look, looks_store
from components.jobs.job import Job, Progress, Put
from components.workspace.experiment import prepare
from components.workspace.prunings import kept_pruning
from components.workspace.setup import Setup
from wanda_core.errors import Stopped
from wanda_core.method.recipe import Recipe


@dataclass(frozen=True)
class LookInside(Job):
    """Gather the norms of every layer's inputs in the dense model, and compare two methods layer by layer."""

    setup: Setup
    recipes: tuple[Recipe, Recipe]

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.inspection.layer_summary import summarise
        from wanda_core.pruning.dense_statistics import collect_statistics

        subject = prepare(self.setup, put)
        kept = [kept_pruning(subject, recipe) for recipe in self.recipes]
        look = Look(
            source=self.setup.source,
            fingerprint=subject.model.fingerprint,
            protocol=subject.protocol,
            recipes=self.recipes,
            own=tuple(pruning is not None for pruning in kept),
            layers=(),
            setup=self.setup.digest,
            norms={},
        )
        known = looks_store.get(look.name)
        if known is not None:
            put(replace(known, setup=self.setup.digest))
            return
        layers, norms, total = {}, {}, len(subject.model.prunable.layers)

        gathered = collect_statistics(
            subject.model.prunable,
            subject.tokens,
            on_progress=lambda share, where: put(Progress(f"Reading inputs: {where}", 0.7 * share)),
            stop=stop,
        )
        for layer, statistics in gathered.statistics.items():
            if stop.is_set():
                raise Stopped
            norms[layer.name] = statistics.norms().cpu()
            layers[layer.name] = summarise(layer, statistics, self.recipes, kept)
            put(Progress(f"Comparing masks: {layer.name}", 0.7 + 0.3 * len(layers) / total))
        order = [layers[layer.name] for layer in subject.model.prunable.layers if layer.name in layers]
        put(replace(look, layers=tuple(order), norms=norms))


def pair(recipes: Sequence[Recipe]) -> tuple[Recipe, Recipe]:
    """The two methods to compare: the first two asked for; beside a single one magnitude, or Wanda."""
    first = recipes[0]
    other = "wanda" if first.method == "magnitude" else "magnitude"
    second = recipes[1] if len(recipes) > 1 else replace(first, method=other, group=None)
    return first, second
