"""How the next token is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import GenerationConfig

from wanda_core.errors import Refused


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. What is not here is as the model's own generation settings have it."""

    new_tokens: int = 100
    """At most so many; a text also ends at the model's own end token."""
    temperature: float = 0.0
    """0 is greedy: always the likeliest token."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that together have this probability. Greedy choice does not look at it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not _is_number(self.new_tokens, int) or self.new_tokens < 1:
            raise Refused("New tokens must be a whole number, 1 or more")
        if not _is_number(self.temperature, float) or not 0 <= self.temperature <= 10:
            raise Refused("Temperature must be a number between 0 (greedy) and 10")
        if not _is_number(self.top_p, float) or not 0 < self.top_p <= 1:
            raise Refused("Top-p must be a number above 0, at most 1")
        if not _is_number(self.seed, int) or not 0 <= self.seed < 2**63:
            raise Refused("Seed must be a whole number, 0 or more")

    def config(self) -> GenerationConfig:
        """The same, for `generate`; `top_k` is off, which transformers would set to 50."""
        drawn = {"temperature": float(self.temperature), "top_p": float(self.top_p), "top_k": 0}
        return GenerationConfig(
            max_new_tokens=self.new_tokens,
            num_beams=1,
            do_sample=self.temperature > 0,
            **(drawn if self.temperature > 0 else {}),
        )


def _is_number(value: object, kind: type) -> bool:
    kinds = int if kind is int else int | float
    return isinstance(value, kinds) and not isinstance(value, bool)
