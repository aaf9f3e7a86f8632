"""The sentence follows from the interval of the paired differences."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from components.cost.outcome import Outcome, groups
from components.cost.verdict import paired, times_dense, verdict
from wanda_core import Recipe


def text_of(outcome: Outcome) -> str:
    return re.sub(r"<[^>]+>", " ", verdict(outcome)).replace("  ", " ")


def recipe(method: str, sparsity: float = 0.5, pattern: str = "unstructured") -> Recipe:
    return Recipe(method=method, sparsity=None if ":" in pattern else sparsity, pattern=pattern)


LITTLE = (0.10, 0.12, 0.09, 0.11)
MORE = (0.29, 0.33, 0.30, 0.28)
SCATTERED = (0.5, -0.3, 0.4, -0.2)


def test_a_lower_perplexity_is_said_with_its_interval(make: Any) -> None:
    said = text_of(make([(recipe("wanda"), LITTLE), (recipe("magnitude"), MORE)]))
    interval = stats.ttest_rel(MORE, LITTLE).confidence_interval(0.95)
    low, high = (100 * (1 - math.exp(-end)) for end in (interval.low, interval.high))
    assert f"Wanda's perplexity is lower than Magnitude's by {low:.0f} to {high:.0f}%." in said
    dense, wanda = math.exp(3.1), math.exp(3.1 + np.mean(LITTLE))
    assert f"raises perplexity from {dense:.4g} to {wanda:.4g} ({wanda / dense:.2f}&nbsp;×)" in said


def test_the_better_one_is_named_whoever_it_is(make: Any) -> None:
    said = text_of(make([(recipe("wanda"), MORE), (recipe("magnitude"), LITTLE)]))
    assert "Magnitude's perplexity is lower than Wanda's by" in said


def test_no_difference_that_this_much_text_can_show(make: Any) -> None:
    said = text_of(make([(recipe("wanda"), LITTLE), (recipe("magnitude"), SCATTERED)]))
    assert "no difference that this much text can show" in said
    assert "lower than" not in said


def test_large_differences_are_factors(make: Any) -> None:
    said = text_of(make([(recipe("wanda"), LITTLE), (recipe("magnitude"), (2.1, 2.2, 2.0, 2.15))]))
    found = re.search(r"Magnitude's by a factor of ([\d.]+) to ([\d.]+)\.", said)
    assert found
    low, high = map(float, found.groups())
    assert 6 < low < math.exp(np.mean((2.1, 2.2, 2.0, 2.15)) - np.mean(LITTLE)) < high < 9


def test_a_recovered_method_is_told_from_the_same_one_before(make: Any) -> None:
    recovered = replace(recipe("wanda"), recovery="blocks")
    outcome = make([(recipe("wanda"), MORE), (recovered, LITTLE)])
    assert len(groups(outcome.rows)) == 2
    assert "Wanda recovered's perplexity is lower than Wanda's by" in text_of(outcome)


def test_every_amount_has_its_own_line_and_only_alike_ones_are_compared(make: Any) -> None:
    points = [
        (recipe(method, s), extra)
        for s in (0.3, 0.5)
        for method, extra in (("wanda", LITTLE), ("magnitude", MORE))
    ]
    points.append((recipe("wanda", pattern="2:4"), LITTLE))
    said = verdict(make(points))
    assert "At 50%" in said
    assert said.count("<li>") == 1  # 2:4 has nothing to be compared with
    assert "<b>30%</b>" in said


def test_rows_of_different_windows_are_never_compared(make: Any) -> None:
    outcome = make([(recipe("wanda"), LITTLE), (recipe("magnitude"), MORE)])
    outcome.rows[2]["evaluation_sha256"] = "e1"
    one, other = groups(outcome.rows)
    assert paired(one, other) is None
    assert "was not measured window by window" in text_of(outcome)
    assert "lower than" not in text_of(outcome)


def test_times_dense_has_the_paired_interval(make: Any) -> None:
    outcome = make([(recipe("wanda"), LITTLE)])
    interval = stats.ttest_1samp(LITTLE, 0).confidence_interval(0.95)
    found = times_dense(groups(outcome.rows)[0], outcome.dense)
    expected = (math.exp(np.mean(LITTLE)), math.exp(interval.low), math.exp(interval.high))
    assert found == pytest.approx(expected)


def test_several_seeds_are_one_point_of_their_mean_loss(make: Any) -> None:
    outcome = make([(recipe("wanda"), LITTLE), (recipe("magnitude"), MORE)], seeds=(0, 1, 2))
    wanda, magnitude = groups(outcome.rows)
    assert (len(wanda.rows), len(magnitude.rows)) == (3, 1)  # magnitude looks at no calibration
    assert wanda.perplexity == pytest.approx(math.exp(3.1 + np.mean(LITTLE) + 0.01))
    assert wanda.ends == pytest.approx((wanda.rows[0]["perplexity"], wanda.rows[2]["perplexity"]))
    assert wanda.losses == pytest.approx([3.11 + 0.0, 3.53, 2.90, 3.32])


def test_before_and_without_the_dense_model(make: Any) -> None:
    outcome = make([(recipe("wanda"), LITTLE)])
    assert "Measuring the dense model first" in verdict(Outcome(outcome.protocol, []))
    assert "No pruned model is measured yet" in verdict(Outcome(outcome.protocol, outcome.rows[:1]))
    failed = outcome.rows[0] | {"perplexity": None, "error": "out of memory"}
    assert "could not be measured" in verdict(Outcome(outcome.protocol, [failed]))
