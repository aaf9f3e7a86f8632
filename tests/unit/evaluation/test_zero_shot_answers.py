"""Shares of right answers and their intervals."""

from __future__ import annotations

import math
import random

import pytest

from wanda_core.evaluation.zero_shot_answers import Answers, Share, mean

pytest.importorskip("lm_eval")


def test_wilsons_interval() -> None:
    answers = Answers("ours", ((True,) * 30 + (False,) * 20,))
    share = answers.accuracy(0)
    # The two shares p for which |0.6 - p| is 1.96 standard errors at that very p.
    for end in (share.low, share.high):
        assert abs(0.6 - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 50), rel=1e-5)
    assert share.value == 0.6


def test_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Both models answer 60 questions; 20% are right for the dense one alone, 8% for the pruned one alone."""
    draw = random.Random(0)
    kinds = [(True, True), (False, False), (True, False), (False, True)]
    covered = 0
    for _ in range(2000):
        pairs = draw.choices(kinds, weights=[0.42, 0.30, 0.20, 0.08], k=60)
        difference = Answers("ours", tuple(zip(*pairs, strict=True))).difference(1)
        assert difference.low < difference.value < difference.high
        covered += difference.low <= -0.12 <= difference.high
    assert 0.935 <= covered / 2000 <= 0.97


def test_same_answers_are_no_proof_of_no_difference() -> None:
    difference = Answers("ours", ((True,) * 20,) * 2).difference(1)
    assert difference.value == 0
    assert difference.low < -0.03
    assert difference.high > 0.03


def test_everything_lost_stays_within_what_can_be() -> None:
    difference = Answers("ours", ((True,) * 20, (False,) * 20)).difference(1)
    assert difference.value == difference.low == -1
    assert -1 < difference.high < -0.7


def test_mean_of_tasks() -> None:
    """Alike tasks: the interval of a mean of four is half as wide."""
    combined = mean([Share(0.5, 0.3, 0.9)] * 4)
    assert (combined.value, combined.low, combined.high) == pytest.approx((0.5, 0.4, 0.7))


def test_interval_of_a_mean_covers_the_truth_as_often_as_it_says() -> None:
    draw = random.Random(1)
    truths = [0.5, 0.25, 0.8]
    covered = 0
    for _ in range(2000):
        shares = [
            Answers("ours", (tuple(draw.random() < truth for _ in range(50)),)).accuracy(0)
            for truth in truths
        ]
        combined = mean(shares)
        covered += combined.low <= sum(truths) / 3 <= combined.high
    assert 0.935 <= covered / 2000 <= 0.97
