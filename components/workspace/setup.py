"""The model, texts and windows that a visitor chose."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

TEXTS = {
    "stories": "Stories (built in)",
    "pydoc": "Python documentation (built in)",
    "wikitext2": "WikiText-2 (from the Hub)",
    "c4": "C4 (from the Hub)",
    "own": "My own text",
}


NOISE = "random"
"""A calibration on random tokens: how much does the text matter? For sweeps alone."""


@dataclass(frozen=True)
class Setup:
    """A model, two texts, and the windows to take of them."""

    source: str
    calibration: str
    """A key of `TEXTS`."""
    evaluation: str
    own_text: str
    samples: int
    length: int
    windows: int
    eval_length: int
    seed: int

    @property
    def digest(self) -> str:
        """Names it, without holding on to a visitor's own text."""
        return hashlib.sha256(repr(self).encode()).hexdigest()
