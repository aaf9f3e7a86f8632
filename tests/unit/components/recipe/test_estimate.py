"""What is said before a run."""

from __future__ import annotations

from components.recipe.estimate import estimate
from tests.unit.components.recipe.test_request import GOOD, SOURCES


def test_what_ignores_the_seed_is_one_point() -> None:
    values = GOOD | {
        "methods": ["magnitude", "wanda"],
        "amounts": ["50"],
        "other_amounts": "",
        "seeds": "0,1,2",
    }
    said, _ = estimate(values, SOURCES)
    # The dense model, magnitude once, Wanda with three seeds.
    assert "5 points with the dense model" in said
    said, _ = estimate(values | {"bits": ["16", "4"]}, SOURCES)
    assert "10 points with the dense model" in said
