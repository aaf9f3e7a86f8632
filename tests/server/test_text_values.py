"""Hostile values for texts and questions."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.requests import DEFAULT, expect_refusal

PROMPT = "Long ago, in a dark forest,"


TEXT = [PROMPT, 20, 0, 1, 0, False]


QUESTIONS = [["boolq"], 2]


HOSTILE_TEXT: list[tuple[int, Any]] = [
    (0, ""),
    (0, None),
    (0, "x" * 1_000_000),
    (0, "half a fox \ud83e"),
    (1, -1),
    (1, 10**12),
    (1, 10**400),
    (1, math.inf),
    (1, "twenty"),
    (1, None),
    (2, -0.1),
    (2, 1e308),
    (2, 10**400),
    (2, math.nan),
    (2, "1e999"),
    (2, "hot"),
    (2, None),
    (2, True),
    (3, 0),
    (3, 1.5),
    (3, 10**400),
    (3, True),
    (3, None),
    (4, -1),
    (4, 2**70),
    (4, 10**400),
    (6, "/etc/passwd"),
    (10, []),
    (10, ["magnitude", "wanda", "ria", "random"]),
]


@pytest.mark.parametrize(("place", "value"), HOSTILE_TEXT)
def test_hostile_values_for_a_text_are_an_error_each(address: str, place: int, value: Any) -> None:
    values = [*TEXT, *DEFAULT]
    values[place] = value
    expect_refusal(address, "write", values)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, []),
        (0, "boolq"),
        (0, ["/etc/passwd"]),
        (0, [["boolq"]]),
        (0, [{"task": "mine", "dataset_path": "json"}]),
        (1, 0),
        (1, 10**9),
        (1, 10**400),
        (1, math.nan),
        (1, "1e999"),
        (1, True),
        (1, None),
        (2, "/etc"),
        (6, ["magnitude", "wanda", "ria", "random"]),
    ],
)
def test_hostile_values_for_questions_are_an_error_each(address: str, place: int, value: Any) -> None:
    values = [*QUESTIONS, *DEFAULT]
    values[place] = value
    expect_refusal(address, "ask", values)
