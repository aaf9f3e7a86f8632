"""The sparsity that a budget of perplexity reaches."""

from __future__ import annotations

import math

import pytest

from wanda_core.experiments.budget import reach


def test_reach_is_interpolated_on_the_logarithm_until_it_is_measured() -> None:
    # ln from 0 to ln 1.21 over 50 to 60%: 10% more is half way.
    found = reach([(0.6, 12.1), (0.5, 10.0)], dense=10.0, budget=0.1)
    assert found.sparsity == pytest.approx(0.55)
    assert found.perplexity == pytest.approx(11.0)
    assert (found.measured, found.beyond) == (False, False)
    found = reach([(0.5, 10.0), (0.549, 10.98), (0.6, 12.1)], 10.0, 0.1)
    assert (found.sparsity, found.measured, found.beyond) == (0.549, True, False)


def test_reach_at_the_ends() -> None:
    within = reach([(0.2, 9.0), (0.4, 10.5)], 10.0, 0.1)
    assert (within.sparsity, within.measured, within.beyond) == (0.4, True, True)
    assert reach([(0.8, math.inf)], 10.0, 0.1).sparsity == 0.0
    assert reach([(0.8, math.nan)], 10.0, 0.1).sparsity == 0.0
    assert reach([], 10.0, 0.1).sparsity == 0.0
    # What 30% spoiled is not repaired at 40%.
    assert reach([(0.3, 20.0), (0.4, 10.0)], 10.0, 0.1).sparsity < 0.3
