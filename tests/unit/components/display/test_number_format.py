"""Numbers as a reader expects them."""

from __future__ import annotations

import pytest

from components.display.number_format import duration, number, threads, times


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0, "0"),
        (0.00012345, "0.0001234"),
        (36.612, "36.61"),
        (999.96, "1000"),
        (1000, "1,000"),
        (123_456.7, "123,457"),
        (1e6, "1.0e+06"),
        (3.21e9, "3.2e+09"),
    ],
)
def test_four_digits_that_matter(value: float | None, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(1.234, "1.23"), (12.34, "12.3"), (100, "100"), (12_345, "12,345")]
)
def test_three_digits_of_a_ratio(value: float, written: str) -> None:
    assert times(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (89.4, "89 s"),
        (89.6, "1 min 30 s"),
        (130, "2 min 10 s"),
        (3599.7, "1 h 0 min"),
        (18080, "5 h 1 min"),
    ],
)
def test_a_duration_never_has_sixty_seconds(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_one_thread_is_no_threads() -> None:
    assert (threads(1), threads(2)) == ("1 thread", "2 threads")
