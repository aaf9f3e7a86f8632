"""Two-sided 95% quantiles of Student's t distribution, without scipy."""

from __future__ import annotations

import math
from functools import cache


@cache
def t_quantile(degrees: int) -> float:
    """The t for which `P(|T| <= t) = 0.95` with so many degrees of freedom, 1 or more: 12.71, 4.303, 3.182, ..."""
    low, high = 0.0, math.pi / 2  # of atan(t / sqrt(degrees))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _central(middle, degrees) < 0.95 else (low, middle)
    return math.tan(low) * math.sqrt(degrees)


def _central(angle: float, degrees: int) -> float:
    """P(|T| <= t) for `angle = atan(t / sqrt(degrees))`: Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    cosine = math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 if odd else 1, degrees - 2, 2):
        term *= k / (k + 1) * cosine * cosine
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
