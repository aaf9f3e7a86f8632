"""How far each method goes within the budget."""

from __future__ import annotations

import math

from components.cost.outcome import Outcome, groups
from components.display.names import contender
from wanda_core.experiments.budget import Reach, reach


def limits(outcome: Outcome, percent: float) -> dict[str, Reach]:
    """The highest sparsity of every method within the budget; empty without the dense model's perplexity.

    Args:
        percent: accepted above the dense model's perplexity.
    """
    dense = outcome.dense
    if dense is None:
        return {}
    points: dict[str, list[tuple[float, float]]] = {}
    for group in groups(outcome.rows):
        row = group.first
        if row["pattern"] == "unstructured":
            # What failed, or has no number, is over any budget.
            value = math.inf if group.perplexity is None else group.perplexity
            reached = row["sparsity"] if row["sparsity_reached"] is None else row["sparsity_reached"]
            points.setdefault(contender(row), []).append((reached, value))
    return {method: reach(own, dense["perplexity"], percent / 100) for method, own in points.items()}
