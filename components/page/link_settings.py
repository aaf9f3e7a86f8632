"""What the words of a link mean, setting by setting: each is read by itself, and refused by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from wanda_core.models.hub_id import is_hub_id


def parts(words: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in words.split(",") if part.strip()]


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(words: str) -> str:
        if words not in choices:
            raise ValueError
        return words

    return parse


def some_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    return lambda words: [one_of(choices)(part) for part in parts(words)]


def matching(form: str | re.Pattern[str]) -> Callable[[str], str]:
    def parse(words: str) -> str:
        if not re.fullmatch(form, words) or ".." in words:
            raise ValueError
        return words

    return parse


def hub_id(words: str) -> str:
    """`owner/name` on the Hub."""
    if not is_hub_id(words):
        raise ValueError
    return words


def number(least: float, most: float) -> Callable[[str], float]:
    def parse(words: str) -> float:
        value = float(words)
        if not least <= value <= most:
            raise ValueError
        return value

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    def parse(words: str) -> int:
        if not (words.isascii() and words.isdigit()):
            raise ValueError
        return int(number(least, most)(words))

    return parse


def number_list(words: str) -> str:
    """Whole numbers with commas, such as `0, 1, 2`."""
    return ", ".join(str(whole(0, 2**31 - 1)(part)) for part in parts(words))


def truth(words: str) -> bool:
    """`on` or `off`."""
    return one_of(("off", "on"))(words) == "on"
