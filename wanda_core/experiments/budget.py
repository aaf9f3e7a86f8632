"""How far each method goes within a budget of perplexity."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """The highest sparsity at which a method stays within the budget."""

    sparsity: float
    perplexity: float
    measured: bool
    """It is a measured point; else interpolated between two."""
    beyond: bool
    """Every measured point is within the budget: more may be possible."""


def reach(points: Iterable[tuple[float, float]], dense: float, budget: float) -> Reach:
    """How far a method goes before its perplexity is more than `1 + budget` times the dense model's.

    Between measured points the logarithm of the perplexity is taken as linear in the sparsity, and never falling: what
    one sparsity spoils, a higher one does not repair. (Curves bend upwards, so that this errs on the side of less.)

    Args:
        points: sparsity and perplexity, measured; of unstructured sparsity, so that what lies between is possible.
        dense: the dense model's perplexity.
        budget: 0.1 allows 10% more than dense.
    """
    limit = math.log(dense) + math.log1p(budget)
    last_sparsity, last = 0.0, math.log(dense)
    for sparsity, perplexity in sorted(points):
        value = max(last, math.log(perplexity) if perplexity < math.inf else math.inf)
        if not value <= limit:  # NaN, too, is over it
            share = (limit - last) / (value - last) if math.isfinite(value) else 0.0
            found = last_sparsity + share * (sparsity - last_sparsity)
            # Less than half a point further than what is measured is no news.
            if found - last_sparsity < 0.005:
                return Reach(last_sparsity, math.exp(last), measured=True, beyond=False)
            return Reach(found, math.exp(limit), measured=False, beyond=False)
        last_sparsity, last = sparsity, value
    return Reach(last_sparsity, math.exp(last), measured=True, beyond=True)
