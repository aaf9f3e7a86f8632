"""Inspect layers: one forward of the dense model, after which any layer can be opened at once."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
from typing import Any

from components.inside.inspection import Inspection, own_masks
from components.jobs.job import Job, Progress, Put
from components.jobs.runner import ZERO_GPU
from components.workspace.experiment import fetch, prepare
from components.workspace.focus import Focus
from components.workspace.prunings import kept_pruning, pruning_of
from wanda_core.errors import Stopped
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

LOADED, PRUNED = 0.02, 0.35
"""Shares of the job that are done once model and texts are there, and that one pruning takes."""
CARRIED_BYTES = 64_000_000
"""Weights that an inspection takes along to a process in which the model is not loaded."""


@dataclass(frozen=True)
class Inspected:
    """What the job found, and for which point."""

    inspection: Inspection
    focus: Focus


@dataclass(frozen=True)
class InspectLayers(Job):
    """Gather the norms of every layer's inputs in the dense model, and compare two methods layer by layer. A method
    that cannot be previewed prunes the model for it."""

    focus: Focus
    other: Recipe
    """What the point in focus is compared with."""
    layer: str
    """To be opened first; may be none of the model's."""

    @property
    def gpu_seconds(self) -> float:
        return 120 if any(not previewable(recipe) for recipe in self.recipes) else 60

    @property
    def recipes(self) -> tuple[Recipe, Recipe]:
        return self.focus.recipe, self.other

    def fetch(self, put: Put) -> None:
        fetch(self.focus.setup, put)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.inspection.layer_summary import summarise
        from wanda_core.pruning.dense_statistics import collect_statistics

        setup = self.focus.setup
        subject = prepare(setup, put)
        updating = [recipe for recipe in self.recipes if not previewable(recipe)]
        before = LOADED
        for recipe in updating:
            pruning_of(subject, recipe, put, stop, before=before, share=PRUNED)
            before += PRUNED
        kept = [kept_pruning(subject.key(recipe)) for recipe in self.recipes]
        read = 0.7 * (1 - before)
        gathered = collect_statistics(
            subject.model.prunable,
            subject.tokens,
            on_progress=lambda share, where: put(Progress(f"Reading inputs: {where}", before + read * share)),
            stop=stop,
        )
        layers, norms, total = {}, {}, len(gathered.statistics)
        for layer, statistics in gathered.statistics.items():
            if stop.is_set():
                raise Stopped
            norms[layer.name] = statistics.norms().cpu().numpy()
            layers[layer.name] = summarise(layer, statistics, self.recipes, kept)
            done = before + read + (1 - before - read) * len(layers) / total
            put(Progress(f"Comparing masks: {layer.name}", done))
        ordered = [layer for layer in subject.model.prunable.layers if layer.name in layers]
        own = {
            recipe: own_masks(pruning)
            for recipe, pruning in zip(self.recipes, kept, strict=True)
            if pruning is not None
        }
        inspection = Inspection(
            source=setup.source,
            revision=setup.revision,
            dtype=setup.dtype,
            fingerprint=subject.model.fingerprint,
            protocol=subject.protocol,
            recipes=self.recipes,
            own=own,
            layers=tuple(layers[layer.name] for layer in ordered),
            norms=norms,
            name=hashlib.sha256(
                repr((subject.key(None), self.recipes, sorted(r.method for r in own))).encode()
            ).hexdigest(),
        )
        if ZERO_GPU:
            inspection = replace(inspection, weights=self._carried(ordered, layers))
        put(Inspected(inspection, self.focus))

    def _carried(self, ordered: list[Any], summaries: dict[str, Any]) -> dict[str, Any]:
        """Weights for the page's process: of the layer asked for, then of those where the methods differ most."""
        first = sorted(ordered, key=lambda layer: (layer.name != self.layer, -summaries[layer.name].differ))
        weights, room = {}, CARRIED_BYTES
        for layer in first:
            room -= 4 * layer.weight.numel()
            if room >= 0:
                weights[layer.name] = layer.weight.float().cpu().contiguous().numpy()
        return weights


def previewable(recipe: Recipe) -> bool:
    """Whether its masks can be had from the norms alone; SparseGPT's cannot, nor those in an order to be found."""
    return METHODS[recipe.method].score is not None and recipe.order == "none"


def other_recipe(recipe: Recipe, method: str) -> Recipe:
    """The same amount by another method, whose weights compete as that one's do unless the recipe has a group of its
    own."""
    group = recipe.group if recipe.group != METHODS[recipe.method].group else None
    return replace(recipe, method=method, group=group if group in METHODS[method].groups else None)
