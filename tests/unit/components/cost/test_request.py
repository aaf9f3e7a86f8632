"""What Cost is asked for, checked as a client may send it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.cost.job import points_of
from components.cost.request import (
    check_budget,
    check_claims,
    check_limits,
    check_measure,
    check_sensitivity,
    default_measure,
)
from components.workspace.defaults import DEFAULTS
from components.workspace.focus import Focus
from wanda_core import Recipe, Refused
from wanda_core.experiments.points import DENSE, Calibration, Point

PANEL: dict[str, Any] = {
    **DEFAULTS,
    "amounts": list(DEFAULTS["amounts"]),
    "methods": list(DEFAULTS["methods"]),
    "source": "pocket",
    "calibration": "stories",
    "evaluation": "stories",
}
LITTLE, MUCH = (0.05, 0.06, 0.05, 0.06), (1.2, 1.3, 1.2, 1.3)


def test_the_first_run_is_what_is_recorded() -> None:
    assert check_measure(PANEL, ["pocket"]) == default_measure("pocket")
    recipes = [(p.recipe.method, p.recipe.sparsity) for p in default_measure("pocket").points if p.recipe]
    assert recipes == [(method, s) for s in (0.3, 0.5, 0.7) for method in ("wanda", "magnitude")]


def test_what_looks_at_no_calibration_is_one_point_whatever_the_seeds() -> None:
    setup = default_measure("pocket").setup
    recipes = [Recipe(method=method, sparsity=0.5) for method in ("wanda", "magnitude", "random")]
    points = points_of(setup, [*recipes, Recipe(method="magnitude", sparsity=0.5, allocation="owl")], (3, 4))
    named = [(p.recipe.method, p.recipe.allocation, p.recipe.seed) for p in points if p.recipe]
    assert named == [
        ("wanda", "uniform", 3),
        ("wanda", "uniform", 4),
        ("magnitude", "uniform", 3),
        ("random", "uniform", 3),
        ("random", "uniform", 4),
        ("magnitude", "owl", 3),
        ("magnitude", "owl", 4),
    ]
    assert all(p.calibration.seed == p.recipe.seed for p in points if p.recipe)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int8", "yes"),
        ("int8", 1),
        ("smaller", 7),
        ("smaller", "../../etc/passwd"),
        ("smaller", "assets/pocket"),
    ],
)
def test_hostile_values_are_refused(name: str, value: object) -> None:
    with pytest.raises(Refused):
        check_measure({**PANEL, name: value}, ["pocket"])


def sensitivity(**changes: object) -> Any:
    focus = Focus(default_measure("pocket").setup, Recipe(method="wanda", sparsity=0.5))
    values = {
        **PANEL,
        "focus": focus,
        "tried_samples": "1, 4",
        "tried_seeds": "0, 1",
        "tried_texts": [],
        **changes,
    }
    return check_sensitivity(values, ["pocket"])


def test_sensitivity_measures_the_point_in_focus_on_every_calibration() -> None:
    asked = sensitivity(tried_texts=["stories", "random"])
    assert asked.points[0] == DENSE
    assert asked.points[1:] == tuple(
        Point(Recipe(method="wanda", sparsity=0.5, seed=seed), Calibration(n, text, seed))
        for text in ("stories", "random")
        for n in (1, 4)
        for seed in (0, 1)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"tried_samples": "1, -4"},
        {"tried_samples": "1e999"},
        {"tried_samples": 10**400},
        {"tried_samples": True},
        {"tried_samples": "9" * 5000},
        {"tried_samples": "0"},
        {"tried_seeds": "1;2"},
        {"tried_texts": ["/etc/passwd"]},
        {"tried_texts": "stories"},
        {"tried_texts": ["own"]},
        {"focus": None},
        {"focus": {"setup": 1}},
        {"tried_samples": "4", "tried_seeds": "0"},  # one calibration
        {"tried_samples": ",".join(map(str, range(1, 60))), "tried_seeds": "0, 1"},  # too many points
        {"source": "nobody/nothing"},  # another model than the point's
    ],
)
def test_hostile_calibrations_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Refused):
        sensitivity(**changes)


def test_claims_need_two_windows_for_there_to_be_a_difference() -> None:
    asked = check_claims({**PANEL, "samples": 1}, ["pocket"])
    assert asked.setup.samples == 2
    assert {p.calibration.samples for p in asked.points if p.calibration} == {1, 2}


@pytest.mark.parametrize(
    "percent", [0, -1, 201, 1e308, float("nan"), float("inf"), True, "10", None, 10**400]
)
def test_a_budget_is_a_number_of_per_cent(percent: object) -> None:
    with pytest.raises(Refused):
        check_budget(percent)


def test_the_limit_is_measured_between_two_points(make: Any) -> None:
    """Log perplexity rises linearly from 30% to 60%: a budget of exp(0.63) - 1 = 88% is used up at about 45%."""
    wanda = [(Recipe(method="wanda", sparsity=s), (extra,) * 4) for s, extra in ((0.3, 0.0), (0.6, 1.26))]
    outcome = make(wanda)
    panel = replace(default_measure("pocket"), points=outcome.asked.points)
    assert check_limits(outcome, 100 * (1.878 - 1), panel) == ["45"]
    with pytest.raises(Refused, match="every measured point is within the budget"):
        check_limits(outcome, 300, panel)
    with pytest.raises(Refused, match="others than this run's"):
        check_limits(outcome, 88, replace(panel, setup=replace(panel.setup, windows=3)))
    with pytest.raises(Refused, match="saved file"):
        check_limits(replace(outcome, asked=None), 88, panel)
    with pytest.raises(Refused, match="needs the dense model"):
        check_limits(replace(outcome, rows=outcome.rows[1:]), 88, panel)


def test_a_limit_that_is_measured_already_is_not_asked_for_again(make: Any) -> None:
    outcome = make(
        [(Recipe(method="wanda", sparsity=s), (extra,) * 4) for s, extra in ((0.3, 0.0), (0.6, 1.26))]
    )
    more = points_of(outcome.asked.setup, [Recipe(method="wanda", sparsity=0.45)], (0,))[1:]
    panel = replace(default_measure("pocket"), points=(*outcome.asked.points, *more))
    with pytest.raises(Refused, match="nothing to measure"):
        check_limits(outcome, 100 * (1.878 - 1), panel)
