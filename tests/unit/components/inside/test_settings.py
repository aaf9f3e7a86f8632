"""What the view's controls ask for, and how links say it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from components.inside.settings import OFFERED, Asked, parse_pattern, parse_weight, preview_of
from wanda_core import Recipe
from wanda_core.errors import Refused

WANDA = Recipe(method="wanda", sparsity=0.5)
HOSTILE = [
    ("layer", ["x"]),
    ("layer", {"a": 1}),
    ("weight", "3"),
    ("weight", "3,-1"),
    ("weight", "99999999,1"),
    ("weight", 7),
    ("compare", "no method"),
    ("compare", ["wanda"]),
    ("compare", "magnitude+admm"),
    ("preview", math.nan),
    ("preview", 10**400),
    ("preview", -1),
    ("preview", "50"),
    ("preview", True),
    ("preview_pattern", "9:4"),
    ("preview_pattern", 5),
    ("preview_group", "everything"),
    ("preview_group", []),
    ("map_by", "secrets"),
    ("map_by", None),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE)
def test_a_wrong_value_is_refused_in_a_sentence(name: str, value: Any) -> None:
    with pytest.raises(Refused):
        Asked.of({name: value}, WANDA)


@pytest.mark.parametrize("words", ["3", "3,", "a,b", "-1,2", "3,17,4", "3.5,2", "99999999,1"])
def test_a_link_that_names_no_weight_is_ignored(words: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        parse_weight(words)


def test_a_link_names_a_weight_and_a_pattern() -> None:
    assert parse_weight(" 3, 017") == "3,17"
    assert parse_pattern("6:8") == "6:8"
    with pytest.raises(ValueError, match=r"^$"):
        parse_pattern("8:6")


@pytest.mark.parametrize(
    "focus",
    [
        WANDA,
        Recipe(method="magnitude", sparsity=0.3),
        Recipe(method="wanda", sparsity=0.7, group="layer", schedule="block", seed=3),
        Recipe(method="ria", pattern="2:4"),
        Recipe(method="wanda", pattern="6:8"),
    ],
)
def test_a_preview_at_the_points_own_place_is_that_point(focus: Recipe) -> None:
    asked = Asked.of({"as_pruned": False, **preview_of(focus)}, focus)
    assert asked.recipes(focus)[0] == focus
    assert Asked.of({}, focus).recipes(focus)[0] == focus


def test_the_other_side_is_what_one_would_compare_with() -> None:
    assert Asked.of({}, WANDA).compare == "magnitude"
    assert Asked.of({}, Recipe(method="magnitude")).compare == "wanda"
    assert Asked.of({"compare": "wanda"}, WANDA).compare == "magnitude"  # not with itself
    first, other = Asked.of({"compare": "ria"}, WANDA).recipes(WANDA)
    assert (first, other) == (WANDA, Recipe(method="ria", sparsity=0.5))
    grouped = Recipe(method="wanda", sparsity=0.5, group="input")
    assert Asked.of({}, grouped).recipes(grouped)[1].group == "input"
    assert Asked.of({"compare": "sparsegpt"}, grouped).recipes(grouped)[1].group == "layer"


def test_only_methods_with_a_name_are_offered() -> None:
    assert "wanda+admm" in OFFERED
    assert not {"magnitude+admm", "ria+admm", "random+admm"} & set(OFFERED)
