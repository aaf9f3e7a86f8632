"""Answers to zero-shot questions: shares that are right, paired differences, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the page lists the tasks before torch is there
    pass


NINETY_FIVE = 1.96
"""Standard errors on either side of a 95% interval."""


@dataclass(frozen=True)
class Share:
    """A share with a 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Answers:
    """One task: which questions the dense model and every pruning got right."""

    task: str
    right: tuple[tuple[bool, ...], ...] = ()
    """For the dense model and then every pruning, for each question in the same order."""
    error: str | None = None
    """Why the task could not be asked; `right` is empty then."""

    @property
    def questions(self) -> int:
        return len(self.right[0]) if self.right else 0

    def accuracy(self, model: int) -> Share:
        """Share of questions answered right (0: the dense model, then the prunings), with Wilson's interval."""
        from scipy.stats import binomtest  # comes with the harness

        right = sum(self.right[model])
        interval = binomtest(right, self.questions).proportion_ci(method="wilson")
        return Share(right / self.questions, float(interval.low), float(interval.high))

    def difference(self, model: int) -> Share:
        """Accuracy of a pruning (1, ...) minus the dense model's, paired by question.

        The interval is Agresti and Min's for matched pairs (Statistics in Medicine 24, 2005): Wald's, after half a
        question is added to each of the four ways in which two models can answer one.
        """
        pairs = list(zip(self.right[0], self.right[model], strict=True))
        lost = sum(dense and not pruned for dense, pruned in pairs)
        won = sum(pruned and not dense for dense, pruned in pairs)
        count = self.questions + 2
        value = (won - lost) / count
        spread = math.sqrt((won + lost + 1) / count - value**2) / math.sqrt(count)
        low, high = value - NINETY_FIVE * spread, value + NINETY_FIVE * spread
        return Share((won - lost) / self.questions, max(-1.0, low), min(1.0, high))


def mean(shares: Sequence[Share]) -> Share:
    """Mean of the tasks' shares or differences, each task counting the same, as in the paper's tables.

    The interval is put together from theirs by the method of variance estimates recovery (Zou and Donner, Statistics
    in Medicine 27, 2008): the distances from the middle to either end add up as independent errors do.
    """
    count = len(shares)
    middle = sum(share.value for share in shares) / count
    below = math.hypot(*(share.value - share.low for share in shares)) / count
    above = math.hypot(*(share.high - share.value for share in shares)) / count
    return Share(middle, middle - below, middle + above)
