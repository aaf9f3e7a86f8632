"""The words of a link."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.page.link_settings import matching, number, number_list, one_of, some_of, truth, whole


def test_words_that_are_settings() -> None:
    assert one_of(("a", "b"))("b") == "b"
    assert some_of(("50", "2:4"))(" 50,2:4 ") == ["50", "2:4"]
    assert matching(r"\w+")("main") == "main"
    assert number(0, 2)("1.5") == 1.5
    assert whole(0, 9)("7") == 7
    assert number_list("0, 1,2") == "0, 1, 2"
    assert truth("on") is True


@pytest.mark.parametrize(
    ("parse", "words"),
    [
        (one_of(("a",)), "c"),
        (some_of(("50",)), "50,60"),
        (matching(r"[\w.]+"), "a/b"),
        (matching(r".*"), "../x"),
        (number(0, 2), "nan"),
        (number(0, 2), "inf"),
        (number(0, 2), "3"),
        (whole(0, 9), "1.0"),
        (whole(0, 9), "²"),
        (number_list, "0, x"),
        (truth, "True"),
    ],
)
def test_words_that_are_none(parse: Callable[[str], object], words: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of them means: not this setting's words
        parse(words)
