"""Paired comparisons, against scipy's t test and bootstrap on the same differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from wanda_core import Refused
from wanda_core.experiments.paired import BOOTSTRAP_FROM, compare_losses, compare_rows


def losses(windows: int, better: float = 0.1) -> tuple[list[float], list[float]]:
    """Windows that differ much, and a second model that is worse on each by about `better` nats."""
    draw = np.random.default_rng(3)
    one = draw.normal(3, 0.5, windows)
    return one.tolist(), (one + draw.normal(better, 0.05, windows)).tolist()


@pytest.mark.parametrize("windows", [2, 3, 8, BOOTSTRAP_FROM - 1])
def test_few_windows_by_the_paired_t_test(windows: int) -> None:
    one, other = losses(windows)
    interval = stats.ttest_rel(other, one).confidence_interval(0.95)
    paired = compare_losses(one, other)
    assert paired.ratio == pytest.approx(math.exp(np.mean(other)) / math.exp(np.mean(one)))
    assert (paired.low, paired.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert paired.windows == windows
    assert "Student's t" in paired.method


@pytest.mark.parametrize("windows", [BOOTSTRAP_FROM, 200])
def test_many_windows_by_a_bootstrap(windows: int) -> None:
    one, other = losses(windows)
    differences = np.subtract(other, one)
    interval = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    paired = compare_losses(one, other)
    # Two bootstraps with other random numbers agree to a few hundredths of the interval.
    width = interval.high - interval.low
    assert math.log(paired.low) == pytest.approx(interval.low, abs=0.05 * width)
    assert math.log(paired.high) == pytest.approx(interval.high, abs=0.05 * width)
    assert "bootstrap" in paired.method
    assert compare_losses(one, other) == paired


def test_skewed_differences_have_a_skewed_bootstrap() -> None:
    one = [2.0] * 40
    other = [2.0] * 36 + [4.0] * 4
    paired = compare_losses(one, other)
    middle = math.log(paired.ratio)
    assert math.log(paired.high) - middle > 1.1 * (middle - math.log(paired.low))


def test_certain_where_the_interval_leaves_out_one() -> None:
    one, other = losses(8)
    assert compare_losses(one, other).certain
    assert compare_losses(other, one).certain
    assert compare_losses(other, one).ratio < 1
    assert not compare_losses(one, [x + y for x, y in zip(one, [0.1, -0.1] * 4, strict=True)]).certain
    assert not compare_losses(one, one).certain


def test_overlapping_intervals_and_a_certain_difference() -> None:
    """Why windows are paired: each model's own interval is far wider than the difference."""
    one, other = losses(8)
    spread = stats.t.interval(0.95, 7, np.mean(one), stats.sem(one))
    assert spread[0] < np.mean(other) < spread[1]
    assert compare_losses(one, other).certain


def test_one_window_shows_no_spread() -> None:
    paired = compare_losses([1.0], [2.0])
    assert (paired.ratio, paired.low, paired.high) == (math.e, None, None)
    assert not paired.certain


def test_a_difference_beyond_numbers() -> None:
    assert compare_losses([1.0, 1.0], [2000.0, 2000.0]).ratio == math.inf


@pytest.mark.parametrize(
    ("one", "other"),
    [([], []), ([1.0], [1.0, 2.0]), ([1.0, math.nan], [1.0, 2.0]), ([1.0, 2.0], [math.inf, 2.0])],
)
def test_what_cannot_be_compared_is_refused(one: list[float], other: list[float]) -> None:
    with pytest.raises(Refused):
        compare_losses(one, other)


def test_rows_of_other_windows_are_refused() -> None:
    row = {"evaluation_sha256": "a", "window_losses": [1.0, 2.0]}
    assert compare_rows(row, row).ratio == 1
    with pytest.raises(Refused, match="different windows"):
        compare_rows(row, row | {"evaluation_sha256": "b"})
    with pytest.raises(Refused, match="different windows"):
        compare_rows(row | {"evaluation_sha256": None}, row | {"evaluation_sha256": None})
    with pytest.raises(Refused, match="measure them again"):
        compare_rows(row, row | {"window_losses": None})
