"""What the bytes buy: which measured points no other one beats in both bytes and perplexity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bought:
    """One measured point."""

    label: str
    bytes: int
    perplexity: float


def front(points: Sequence[Bought]) -> list[Bought]:
    """The Pareto front, from the fewest bytes to the lowest perplexity: every other point has one of these that is
    neither larger nor worse."""
    found: list[Bought] = []
    for point in sorted(points, key=lambda point: (point.bytes, point.perplexity)):
        if not found or point.perplexity < found[-1].perplexity:
            found.append(point)
    return found


def beaten_by(point: Bought, points: Sequence[Bought]) -> Bought | None:
    """The point of the front with the lowest perplexity among those that are neither larger nor worse; None for one
    that is on it."""
    best = best_within(point.bytes, points)
    return None if best is None or best == point or best.perplexity == point.perplexity else best


def best_within(most: float, points: Sequence[Bought]) -> Bought | None:
    """The point of lowest perplexity with at most so many bytes, the smaller one of two alike; None where there is
    none."""
    fitting = [point for point in points if point.bytes <= most]
    return min(fitting, key=lambda point: (point.perplexity, point.bytes), default=None)
