"""Outcomes with rows of known losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from components.cost.job import Measure, points_of
from components.cost.outcome import Outcome
from components.cost.request import default_measure
from wanda_core import Recipe
from wanda_core.experiments.points import blank
from wanda_core.experiments.rows import COLUMNS

PROTOCOL: dict[str, Any] = {
    "source": "pocket",
    "revision": None,
    "calibration": "the built-in stories",
    "evaluation": "the built-in stories",
    "calibration_after": 0,
    "seed": 0,
    "samples": 4,
    "length": 256,
    "windows": 4,
    "eval_length": 256,
    "calibration_sha256": "c0",
    "evaluation_sha256": "e0",
    "device": "a machine",
    "dtype": "float32",
    "threads": 2,
    "torch": "2",
    "transformers": "5",
    "micro_batch": 4,
    "date": "2026-11-25",
}
DENSE = (3.0, 3.4, 2.8, 3.2)
"""Mean losses of the dense model's windows."""
Make = Callable[..., Outcome]


def measured(row: dict[str, Any], losses: Sequence[float], **more: Any) -> dict[str, Any]:
    """A row with these losses of its windows."""
    mean = sum(losses) / len(losses)
    found = {
        "sparsity_reached": row["sparsity"],
        "perplexity": math.exp(mean),
        "perplexity_low": math.exp(mean - 0.2),
        "perplexity_high": math.exp(mean + 0.2),
        "window_losses": list(losses),
        "evaluation_sha256": "e0",
        "evaluate_seconds": 1.0,
        "calibration": "Stories",
        "masks_differ": None,
    }
    return dict.fromkeys(COLUMNS) | row | found | more


@pytest.fixture
def make() -> Make:
    """Builds an outcome: each point a recipe and how many nats it adds to each window of the dense model."""

    def build(
        points: Sequence[tuple[Recipe, Sequence[float]]], seeds: Sequence[int] = (0,), **more: Any
    ) -> Outcome:
        setup = default_measure("pocket").setup
        asked = Measure(setup, points_of(setup, [recipe for recipe, _ in points], seeds))
        added = {replace(recipe, seed=0): extra for recipe, extra in points}
        rows = []
        for point in asked.points:
            if point.recipe is None:
                rows.append(measured(blank(point), DENSE))
                continue
            extra = added[replace(point.recipe, seed=0)]
            losses = [loss + each + 0.01 * point.recipe.seed for loss, each in zip(DENSE, extra, strict=True)]
            rows.append(
                measured(blank(point), losses, kl_to_dense=0.25, top1_changed=0.125, prune_seconds=2.0)
            )
        return Outcome(PROTOCOL, rows, {}, len(rows), asked=asked, **more)

    return build
