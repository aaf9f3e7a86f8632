"""How long a run will take: from what was measured on this machine, before that from a machine with two cores."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from components.workspace.model_facts import blocks_of
from components.workspace.setup import Setup
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

FORWARD = 2.1e-11
"""Seconds of a forward for each weight and token: float32 on two cores (16 windows of 512 tokens through 106 M weights
took 18 s)."""
DECIDE = {"none": 1.5e-8, "sparsegpt": 2.0e-7, "admm": 5.5e-7, "score+admm": 3.7e-7}
"""Seconds for each weight to choose and to update, by kind of work, measured on the same machine."""

USUAL_BLOCKS = 30
"""Of a model whose blocks are not known yet."""
SCAN_WINDOWS = 4
"""Windows that a scan evaluates, see `wanda_core.pruning.block_scan`; not imported from there: it waits for torch."""
EPOCHS, STEP_TOKENS = 3, 512
"""Of a recovery, and of one of its steps."""
RECOVERY_PASSES = {"blocks": 2 + 3 * EPOCHS, "model": 5 * EPOCHS}
"""Forwards that a recovery adds: the dense one, a block's second one, and forward and backward in each epoch; for the
whole model the dense one, forward twice and backward in each epoch."""
RECOVERY_STEP = 5e-9
"""Seconds for each weight that one step of Adam takes."""


ORDER = 1.5e-7
"""Seconds for each weight to find an order of the channels, beside a forward for the norms."""


class Pace:
    """The ratio of measured to expected seconds, by kind of work; 1 until something was measured."""

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}
        self._lock = threading.Lock()

    def learn(self, kind: str, expected: float, measured: float) -> None:
        """Take a measured time into account; the last ones count most."""
        if expected <= 0 or measured <= 0:
            return
        with self._lock:
            before = self._ratios.get(kind)
            ratio = measured / expected
            self._ratios[kind] = ratio if before is None else 0.5 * before + 0.5 * ratio

    def ratio(self, kind: str) -> float:
        with self._lock:
            known = self._ratios.get(kind)
            if known is None:  # as far off as the other kinds of work are
                known = sum(self._ratios.values()) / len(self._ratios) if self._ratios else 1.0
            return known


PACE = Pace()


def evaluate_seconds(setup: Setup, weights: int) -> float:
    """Expected seconds of one evaluation."""
    return FORWARD * weights * setup.windows * setup.eval_length * PACE.ratio("evaluate")


def _kind(recipe: Recipe) -> str:
    """A recovery, which takes most of the time, whatever comes before it; else the update, told apart by whether it
    chooses the mask, too, and whether an order is found first."""
    if recipe.recovery != "none":
        return f"recovery of {recipe.recovery}"
    return _update(recipe) + ("" if recipe.order == "none" else " in order")


def _update(recipe: Recipe) -> str:
    method = METHODS[recipe.method]
    return method.update if method.score is None or method.update == "none" else f"score+{method.update}"


def prune_seconds(setup: Setup, recipe: Recipe, weights: int) -> float:
    """Expected seconds to prune by one recipe."""
    return _prune(setup, recipe, weights) * PACE.ratio(_kind(recipe))


def _prune(setup: Setup, recipe: Recipe, weights: int) -> float:
    passes = {"block": 2}.get(recipe.schedule, 1) + recipe.named_allocation.needs_norms
    tokens = setup.samples * setup.length if recipe.needs_inputs else min(setup.samples, 4) * setup.length
    decide = DECIDE[_update(recipe)] * weights
    seconds = FORWARD * weights * tokens * passes + decide
    if recipe.named_allocation.needs_scan:
        # Its own pass and decisions, then (L + 3) / 2 times the blocks on a few windows.
        blocks = blocks_of(setup.source, setup.revision) or USUAL_BLOCKS
        scanned = min(setup.samples, SCAN_WINDOWS) * setup.length * (blocks + 3) / 2
        seconds += FORWARD * weights * (tokens + scanned) + decide
    if recipe.order != "none":
        seconds += FORWARD * weights * tokens + ORDER * weights
    if recipe.recovery != "none":
        seconds += FORWARD * weights * tokens * RECOVERY_PASSES[recipe.recovery]
        seconds += RECOVERY_STEP * weights * EPOCHS * -(-tokens // STEP_TOKENS)
    return seconds


def run_seconds(setup: Setup, recipes: Sequence[Recipe], weights: int, dense: int) -> float:
    """Expected seconds of the points that are not measured yet.

    Args:
        dense: evaluations of the dense model: as it is, and in other bits.
    """
    each = evaluate_seconds(setup, weights)
    prunings = dict.fromkeys(replace(recipe, bits=16) for recipe in recipes)
    return (dense + len(recipes)) * each + sum(prune_seconds(setup, recipe, weights) for recipe in prunings)


def learn_from(setup: Setup, recipe: Recipe | None, weights: int, row: dict[str, Any]) -> None:
    """Take a measured row into account."""
    if row.get("evaluate_seconds"):
        PACE.learn("evaluate", FORWARD * weights * setup.windows * setup.eval_length, row["evaluate_seconds"])
    if recipe is not None and row.get("prune_seconds"):
        PACE.learn(_kind(recipe), _prune(setup, recipe, weights), row["prune_seconds"])
