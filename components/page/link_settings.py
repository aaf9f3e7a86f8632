"""One setting of a link: its name, its component, and what its words may say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Setting:
    """One setting: its name in the address, its component, and what its words there mean."""

    key: str
    component: gr.components.Component
    parse: Callable[[str], Any]
    """Raises `ValueError` where the words are none of it."""


def parts(words: str) -> list[str]:
    return [part.strip() for part in words.split(",") if part.strip()]


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(words: str) -> str:
        if words not in choices:
            raise ValueError
        return words

    return parse


def some_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    return lambda words: [one_of(choices)(part) for part in parts(words)]


def number(least: float, most: float) -> Callable[[str], float]:
    def parse(words: str) -> float:
        value = float(words)
        if not least <= value <= most:
            raise ValueError
        return value

    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    def parse(words: str) -> int:
        value = int(words)
        if not least <= value <= most:
            raise ValueError
        return value

    return parse


def numbers(words: str) -> str:
    return ", ".join(str(whole(0, 2**31 - 1)(part)) for part in parts(words))
