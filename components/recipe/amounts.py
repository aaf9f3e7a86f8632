"""How much to prune: per cent and N:M patterns, as chips and as typed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wanda_core.errors import Refused
from wanda_core.method.pattern import Pattern

CHIPS = ("10", "20", "30", "40", "50", "60", "70", "80", "90", "2:4", "4:8")
"""Amounts that the panel offers; others can be typed."""
PERCENT = re.compile(r"\d{1,3}(\.\d{1,2})?")


@dataclass(frozen=True)
class Amount:
    """A share of the weights, or an N:M pattern that fixes it."""

    sparsity: float | None
    pattern: str = "unstructured"

    @classmethod
    def parse(cls, text: str) -> Amount:
        """`50`, `55.5` or `50%` per cent, or `N:M`.

        Raises:
            Refused: neither, or out of range.
        """
        text = text.strip().removesuffix("%").strip()
        wrong = Refused(
            f"`{text[:20]}` is not an amount: give per cent from 0 to 100, or N:M with N below M, such as 55, 1:4, 6:8"
        )
        if ":" in text:
            try:
                return cls(None, str(Pattern.parse(text)))
            except Refused:
                raise wrong from None
        if not PERCENT.fullmatch(text) or not 0 <= float(text) <= 100:
            raise wrong
        return cls(round(float(text) / 100, 6))

    def __str__(self) -> str:
        return self.pattern if self.sparsity is None else f"{100 * self.sparsity:g}"


def parse_amounts(text: str) -> list[Amount]:
    """A list such as `55, 1:4, 6:8`.

    Raises:
        Refused: a part of it is no amount.
    """
    if len(text) > 200:
        raise Refused("list fewer amounts: at most 200 characters, such as 55, 1:4, 6:8")
    return [Amount.parse(part) for part in text.replace(";", ",").split(",") if part.strip()]
