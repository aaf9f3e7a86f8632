"""One text as it is written, and what is measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wanda_core.speed.packed_model import Packed

NGRAM = 4
"""Tokens of the pieces that repetition is counted in, as in Welleck et al., "Neural Text Generation with Unlikelihood
Training" (arXiv 1908.04319): seq-rep-4."""


@dataclass
class Writing:
    """A continuation, as far as it is written."""

    tokens: list[int] = field(default_factory=list)
    """The new tokens, the end token included where there is one."""
    finished: bool = False
    decode_seconds: float = 0.0
    """For all tokens after the first, this text's own steps alone."""
    departs: int | None = None
    """Index of the first token that is not the dense model's; None where there is none (yet)."""
    perplexity: float | None = None
    """exp of the mean negative log-likelihood that the dense model gives these tokens after the prompt, at temperature
    1; None until the text is finished."""

    packed: Packed | None = None
    """How its layers compute, where packed weights were asked for."""

    @property
    def tokens_per_second(self) -> float | None:
        """Of all tokens but the first; None before the second."""
        return (len(self.tokens) - 1) / self.decode_seconds if len(self.tokens) > 1 else None

    @property
    def repetition(self) -> float | None:
        """Share of the text's 4-grams of tokens that were there before; None under 4 tokens."""
        return repetition(self.tokens)

    def text(self, tokenizer: Any) -> str:
        """What it reads, without special tokens."""
        return tokenizer.decode(self.tokens, skip_special_tokens=True)

    def shared_characters(self, tokenizer: Any) -> int | None:
        """How many characters come before the departure; None without one."""
        if self.departs is None:
            return None
        shared = tokenizer.decode(self.tokens[: self.departs], skip_special_tokens=True)
        # A character may be spread over several tokens: it counts as departed if any of them is.
        place = departure(shared, self.text(tokenizer))
        return len(shared) if place is None else place


def departure(one: Sequence[Any], other: Sequence[Any]) -> int | None:
    """Index of the first token, or character, that differs; None as long as one is the other's beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


def repetition(tokens: Sequence[int]) -> float | None:
    """Share of 4-grams that occurred before in the same tokens; None where there is no 4-gram."""
    pieces = [tuple(tokens[i : i + NGRAM]) for i in range(len(tokens) - NGRAM + 1)]
    return 1 - len(set(pieces)) / len(pieces) if pieces else None
