"""Hostile values for a sweep."""

from __future__ import annotations

import math

import pytest

from tests.support.requests import DEFAULT, expect_refusal

FAR = [[50, 70], [], False, "", "", [], ""]


HOSTILE = [
    (0, "50"),
    (0, [1e308]),
    (0, [10**400]),
    (0, [math.inf, math.nan]),
    (0, [True]),
    (0, []),
    (1, ["99:1"]),
    (1, [7]),
    (2, "yes"),
    (3, "1, -4"),
    (3, "1e999"),
    (3, 10**400),
    (3, True),
    (3, "9" * 5000),
    (4, "1;2"),
    (5, ["/etc/passwd"]),
    (5, ["own"]),
    (6, "/etc"),
    (6, ["pocket"]),
]


@pytest.mark.parametrize(("place", "value"), HOSTILE)
def test_hostile_values_are_an_error_each(address: str, place: int, value: object) -> None:
    values = [*FAR]
    values[place] = value
    expect_refusal(address, "sweep", [*DEFAULT, *values])
