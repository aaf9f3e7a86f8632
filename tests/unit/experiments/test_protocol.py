"""What a measurement says of how it was made: the length of a token, by which models are compared."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from wanda_core import encode, load
from wanda_core.experiments.front import bits_per_byte
from wanda_core.experiments.protocol import bytes_per_token


def test_bytes_of_a_token_are_those_of_the_text(llama_folder: Path) -> None:
    """Its tokenizer has a token for every byte, and one more for a special token that stands for no text."""
    model = load(str(llama_folder))
    ids = encode("Füße, zwölf", model.tokenizer)
    assert len(ids) == 14  # bytes of 11 letters
    assert bytes_per_token(model, ids.view(2, 7)) == 1
    special = torch.full((14,), model.tokenizer.eos_token_id)
    assert bytes_per_token(model, torch.stack([ids, special])) == 0.5


def test_bits_per_byte_by_its_definition() -> None:
    """A model that is as likely as not to be right about each of 8 bits: a perplexity of 256 by the byte."""
    assert bits_per_byte(256, 1) == 8
    assert bits_per_byte(256**3, 3) == pytest.approx(8)  # tokens of three bytes, each guessed as well
    assert bits_per_byte(math.inf, 4) == math.inf
    assert bits_per_byte(10, 0) is bits_per_byte(10, None) is None  # tokens that stand for no text
