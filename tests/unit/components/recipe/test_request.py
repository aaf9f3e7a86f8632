"""What the panel sends, checked on the server, control by control."""

from __future__ import annotations

from typing import Any

import pytest

from components.cost.job import points_of
from components.display.names import control
from components.limits import LIMITS
from components.recipe.order_control import has_pattern
from components.recipe.request import allocation_controls, check_panel, named_focus
from components.workspace.defaults import DEFAULTS
from wanda_core.errors import Refused

SOURCES = ["pocket"]
GOOD: dict[str, Any] = DEFAULTS | {
    "source": "pocket",
    "calibration": "stories",
    "evaluation": "stories",
    "amounts": ["30", "2:4"],
    "methods": ["wanda", "magnitude"],
}


def test_methods_at_every_amount() -> None:
    asked = check_panel(GOOD | {"other_amounts": "55, 6:8", "seeds": "3, 4"}, SOURCES)
    assert [(r.method, r.pattern, r.sparsity) for r in asked.recipes] == [
        ("wanda", "unstructured", 0.3),
        ("magnitude", "unstructured", 0.3),
        ("wanda", "2:4", 0.5),
        ("magnitude", "2:4", 0.5),
        ("wanda", "unstructured", 0.55),
        ("magnitude", "unstructured", 0.55),
        ("wanda", "6:8", 0.25),
        ("magnitude", "6:8", 0.25),
    ]
    assert asked.seeds == (3, 4)
    assert asked.setup.seed == 3


def test_a_recovery_is_measured_beside_the_points_without_it() -> None:
    asked = check_panel(GOOD | {"amounts": ["30"], "recovery": "blocks"}, SOURCES)
    assert [(r.method, r.recovery) for r in asked.recipes] == [
        ("wanda", "none"),
        ("magnitude", "none"),
        ("wanda", "blocks"),
        ("magnitude", "blocks"),
    ]


def test_an_order_is_measured_beside_the_patterns_without_it() -> None:
    panel = GOOD | {"amounts": ["30", "2:4"], "methods": ["wanda"], "order": "channels", "recovery": "blocks"}
    asked = check_panel(panel, SOURCES)
    assert [(r.pattern, r.order, r.recovery) for r in asked.recipes] == [
        ("unstructured", "none", "none"),
        ("2:4", "none", "none"),
        ("2:4", "channels", "none"),
        ("unstructured", "none", "blocks"),
        ("2:4", "none", "blocks"),
        ("2:4", "channels", "blocks"),
    ]


def test_an_order_shows_and_counts_with_a_pattern_alone() -> None:
    with pytest.raises(Refused) as refused:
        check_panel(GOOD | {"amounts": ["30"], "order": "channels"}, SOURCES)
    assert refused.value.told(control).startswith("Order of channels needs an N:M pattern: choose 2:4 or 4:8")
    assert not has_pattern(["30"], "55")
    assert not has_pattern(["30"], "5:")
    assert has_pattern([], "6:8")
    assert has_pattern(["30", "2:4"], "")


def test_an_export_of_a_ratio_in_order_is_refused() -> None:
    assert named_focus("wanda-2:4", GOOD | {"order": "channels"}, SOURCES).recipe.order == "channels"
    with pytest.raises(Refused, match="order needs an N:M pattern"):
        named_focus("wanda-50", GOOD | {"order": "channels"}, SOURCES)


def test_an_amount_is_measured_once() -> None:
    asked = check_panel(GOOD | {"other_amounts": "30, 30%, 2:4"}, SOURCES)
    assert len(asked.recipes) == 4


@pytest.mark.parametrize("words", ["uniform", "owl", "linear:0.02", "sensitivity", "0=0.2,1=0.4"])
def test_an_allocation_as_the_command_line_spells_it(words: str) -> None:
    asked = check_panel(GOOD | {"amounts": ["30"]} | allocation_controls(words), SOURCES)
    assert asked.recipes[0].allocation == words


@pytest.mark.parametrize("words", ["linear", "other", "0=2", "0=0.2,0=0.3", ""])
def test_no_allocation(words: str) -> None:
    with pytest.raises(Refused):
        allocation_controls(words)


def test_ratios_by_block() -> None:
    table = [["0", "20"], ["1", "40"]]
    asked = check_panel(GOOD | {"amounts": ["30"], "allocation": "table", "ratios": table}, SOURCES)
    assert asked.recipes[0].allocation == "0=0.2,1=0.4"


def test_beta_of_the_linear_allocation() -> None:
    asked = check_panel(GOOD | {"allocation": "linear", "beta": 0.05}, SOURCES)
    assert [(r.pattern, r.allocation) for r in asked.recipes[::2]] == [
        ("unstructured", "linear:0.05"),
        ("2:4", "uniform"),
    ]


def test_beta_keeps_to_the_range_of_the_tightest_amount() -> None:
    """pocket has 6 blocks: at 90% BETA may be 2 * 0.1 / 5 at most."""
    values = GOOD | {"amounts": ["50", "90", "2:4"], "allocation": "linear"}
    check_panel(values | {"beta": 0.04}, SOURCES)
    with pytest.raises(Refused, match=r"up to 0\.04 for 6 blocks at 0\.9 sparsity"):
        check_panel(values | {"beta": 0.041}, SOURCES)


@pytest.mark.parametrize("beta", [0, -0.1, None, "0.01", True, float("nan")])
def test_a_beta_that_cannot_be(beta: Any) -> None:
    with pytest.raises(Refused, match="BETA must be a number"):
        check_panel(GOOD | {"allocation": "linear", "beta": beta}, SOURCES)


HOSTILE: list[tuple[str, Any, str]] = [
    ("source", "../secret", "choose a model"),
    ("source", "pyproject.toml", "choose a model"),
    ("source", None, "choose a model"),
    ("source", 3, "choose a model"),
    ("amounts", [], "how much"),
    ("amounts", ["5:4"], "not an amount"),
    ("amounts", "30", "choose from the list"),
    ("amounts", [30], "choose from the list"),
    ("other_amounts", 5, "type other amounts"),
    ("other_amounts", "abc", "not an amount"),
    ("methods", [], "at least one method"),
    ("methods", ["best"], "no method `best`"),
    ("methods", None, "at least one method"),
    ("calibration", "etc", "choose a text"),
    ("evaluation", ["stories"], "choose a text"),
    ("calibration", "own", "your own text is empty"),
    ("calibration", "file", "choose a file first"),
    ("calibration", "dataset", "give a data set"),
    ("samples", 0, "Calibration windows must be"),
    ("samples", 2.5, "Calibration windows must be"),
    ("samples", True, "Calibration windows must be"),
    ("length", 1, "Tokens per window must be"),
    ("length", 10**9, "Tokens per window must be"),
    ("windows", "8", "Evaluation windows must be"),
    ("seeds", "", "takes whole numbers"),
    ("seeds", "1.5", "takes whole numbers"),
    ("seeds", "²", "takes whole numbers"),
    ("schedule", "never", "must be one of"),
    ("group", "row", "must be one of"),
    ("allocation", "fair", "must be one of"),
    ("recovery", "all", "must be one of none, blocks, model"),
    ("recovery", ["blocks"], "must be one of"),
    ("order", "best", "must be one of none, channels"),
    ("order", True, "must be one of"),
    ("allocation", "table", "the table of ratios is empty"),
    ("dtype", "int8", "must be one of"),
    ("revision", "a b", "is a branch, tag or commit"),
    ("chat", "yes", "either on or off"),
]


@pytest.mark.parametrize(("name", "value", "reason"), HOSTILE)
def test_each_wrong_value_is_refused_by_its_control(name: str, value: Any, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        check_panel(GOOD | {name: value}, SOURCES)
    said = refused.value.told(control)
    assert reason in said
    assert "{" not in said


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([["0", "20"], ["1", ""]], "row 2 of the table of ratios has a hole"),
        ([["0", "20"], ["0", "40"]], "row 2 of the table of ratios: a block once"),
        ([["0", "120"]], "row 1 of the table of ratios: a block once, with 0 to 100"),
        ([["0", "20"], ["1", "60"]], "mean of 40.0%, not 30.0%"),
        ([[]], "row 1 of the table of ratios has a hole"),
        ("0=1", "the table of ratios is empty"),
    ],
)
def test_ratio_tables_that_cannot_be(table: Any, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check_panel(GOOD | {"amounts": ["30"], "allocation": "table", "ratios": table}, SOURCES)


def test_texts_and_their_bounds() -> None:
    own = GOOD | {"calibration": "own", "own_text": "x" * (LIMITS.text_characters + 1)}
    with pytest.raises(Refused, match="shorten it"):
        check_panel(own, SOURCES)
    with pytest.raises(Refused, match="broken emoji"):
        check_panel(own | {"own_text": "a \ud83d b"}, SOURCES)
    with pytest.raises(Refused, match="either your own text or your file"):
        check_panel(GOOD | {"calibration": "own", "evaluation": "file", "own_text": "a b"}, SOURCES)


@pytest.mark.parametrize(
    "file", [{"path": "/etc/passwd"}, "/etc/passwd", {"path": 3}, [], {"path": "../../x.txt"}, {}]
)
def test_a_file_that_was_not_uploaded_is_never_read(file: Any) -> None:
    with pytest.raises(Refused, match="choose a file first"):
        check_panel(GOOD | {"calibration": "file", "text_file": file}, SOURCES)


def test_points_are_bounded() -> None:
    many = ", ".join(str(number) for number in range(1, LIMITS.points + 1))
    with pytest.raises(Refused, match=r"choose fewer|list fewer"):
        check_panel(GOOD | {"other_amounts": many[:190], "seeds": "0,1,2,3,4"}, SOURCES)


def test_every_point_in_all_the_bits() -> None:
    asked = check_panel(GOOD | {"amounts": ["30"], "methods": ["wanda", "ria"], "bits": ["8", "16"]}, SOURCES)
    assert [(r.method, r.bits) for r in asked.recipes] == [
        ("wanda", 16),
        ("wanda", 8),
        ("ria", 16),
        ("ria", 8),
    ]
    points = points_of(asked.setup, asked.recipes, asked.seeds)
    assert [point.bits for point in points if point.recipe is None] == [16, 8]
    assert [r.bits for r in check_panel(GOOD | {"amounts": ["30"], "bits": []}, SOURCES).recipes] == [16, 16]
    for wrong in (["5"], "8", ["16; rm"], [None], {"8": 1}, 8):
        with pytest.raises(Refused) as refused:
            check_panel(GOOD | {"bits": wrong}, SOURCES)
        assert refused.value.told(control) == "Rounded to takes 16, 8, 4"
