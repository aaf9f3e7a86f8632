"""What the bytes buy: which measured points no other one beats in both bytes and loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar


@dataclass(frozen=True)
class Bought:
    """One measured point."""

    label: str
    bytes: int
    loss: float
    """Perplexity, or bits per byte of text where models are compared: the lower the better."""


Some = TypeVar("Some", bound=Bought)


def front(points: Sequence[Some]) -> list[Some]:
    """The Pareto front, from the fewest bytes to the lowest loss: every other point has one of these that is
    neither larger nor worse."""
    found: list[Some] = []
    for point in sorted(points, key=lambda point: (point.bytes, point.loss)):
        if not found or point.loss < found[-1].loss:
            found.append(point)
    return found


def beaten_by(points: Sequence[Some]) -> list[Some | None]:
    """For every point the one of lowest loss among those that are neither larger nor worse, and better in one of them;
    None for one that nothing beats."""
    found: list[Some | None] = [None] * len(points)
    best: Some | None = None
    for _, alike in groupby(
        sorted(range(len(points)), key=lambda at: points[at].bytes), lambda at: points[at].bytes
    ):
        places = list(alike)
        smallest = min((points[at] for at in places), key=lambda point: point.loss)
        if best is None or smallest.loss < best.loss:
            best = smallest
        for at in places:
            if (best.loss, best.bytes) < (points[at].loss, points[at].bytes):
                found[at] = best
    return found


def best_within(most: float, points: Sequence[Some]) -> Some | None:
    """The point of lowest loss with at most so many bytes, the smaller one of two alike; None where there is
    none."""
    fitting = [point for point in points if point.bytes <= most]
    return min(fitting, key=lambda point: (point.loss, point.bytes), default=None)


def bits_per_byte(perplexity: float, bytes_per_token: float | None) -> float | None:
    """What a model loses on a byte of text, whatever its tokenizer: log2(perplexity) / bytes of a token.

    Args:
        bytes_per_token: of the evaluated text, as `protocol` says; None or 0 where its tokens stand for no text, and
            then nothing can be said.
    """
    return math.log2(perplexity) / bytes_per_token if bytes_per_token else None
