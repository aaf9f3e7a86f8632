"""Which points a budget's ends ask for."""

from __future__ import annotations

import pytest

from components.recipe.request import check_panel
from components.sweep.job import Sweep, Swept
from components.sweep.request import check_ends
from tests.support.requests import DEFAULT
from wanda_core import Recipe, Refused
from wanda_core.experiments.points import DENSE, Calibration, Point, blank
from wanda_core.experiments.sweep import cheapest_first


def test_a_budgets_ends_are_measured_on_the_calibration_that_is_shown() -> None:
    """Wanda on one window and on four; magnitude's points, which look at none, make four the one that is shown."""
    one, four = (Calibration(samples, "stories") for samples in (1, 4))
    recipes = [Recipe(method=method, sparsity=s) for method in ("magnitude", "wanda") for s in (0.3, 0.6)]
    points = [Point(recipe, four) for recipe in recipes] + [Point(recipe, one) for recipe in recipes[2:]]
    setup, _ = check_panel("pocket", ["pocket"], *DEFAULT[1:])
    asked = Sweep(setup, (DENSE, *cheapest_first(points)), int8=False, smaller="")
    rows = [blank(DENSE) | {"perplexity": 2.0, "calibration": None}]
    for point in points:
        perplexity = 2.0 if point.recipe.sparsity == 0.3 else 8.0
        known = {
            "perplexity": perplexity,
            "sparsity_reached": point.recipe.sparsity,
            "calibration": "Stories",
        }
        rows.append(blank(point) | known)
    more = set(check_ends(Swept({}, rows, asked=asked), 100).points) - set(asked.points)
    assert more == {Point(Recipe(method=m, sparsity=0.45), four) for m in ("magnitude", "wanda")}
    with pytest.raises(Refused, match="all points are within the budget"):
        check_ends(Swept({}, rows, asked=asked), 400)
    with pytest.raises(Refused, match="needs the dense model"):
        check_ends(Swept({}, rows[1:], asked=asked), 100)
