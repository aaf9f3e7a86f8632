"""int8 by its definition; another model's perplexity on the same text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.support.models import assert_untouched, snapshot, tiny
from wanda_core import encode, find_prunable_layers, load, perplexity
from wanda_core.experiments.baselines import in_int8, int8_round_trip, int8_row, smaller_row


def test_every_row_is_rounded_by_its_own_scale() -> None:
    weight = torch.tensor([[1.27, -0.304, 0.006], [0.0, 0.0, 0.0], [-254.0, 3.1, 1.0]])
    # Steps of 0.01 and 2; half a step goes to the even neighbour (0.5 of 2 is 0).
    expected = torch.tensor([[1.27, -0.30, 0.01], [0.0, 0.0, 0.0], [-254.0, 4.0, 0.0]])
    assert torch.allclose(int8_round_trip(weight), expected, atol=1e-6)


def test_the_model_is_dense_again_afterwards() -> None:
    for family in ("llama", "gpt2"):
        network = tiny(family)
        before = snapshot(network)
        ids = torch.arange(20)[None]
        dense = network(input_ids=ids).logits
        with in_int8(find_prunable_layers(network)):
            changed = (network(input_ids=ids).logits - dense).abs().max()
        assert 0 < changed < 0.1 * dense.abs().max()
        assert_untouched(network, before)


def test_the_row_of_int8_is_its_perplexity(llama_folder: Path) -> None:
    model = load(str(llama_folder))
    windows = torch.randint(256, (3, 24), generator=torch.Generator().manual_seed(2))
    row = int8_row(model, windows)
    for layer in model.prunable.layers:
        layer.stored.copy_(int8_round_trip(layer.stored))
    assert row["perplexity"] == perplexity(model.network, windows).value
    assert row["method"] == "int8"


def test_the_same_model_as_a_smaller_one_is_as_good_as_itself(llama_folder: Path) -> None:
    model, again = load(str(llama_folder)), load(str(llama_folder))
    ids = encode("a fox and a hen went to market once upon a time", model.tokenizer)[None]
    dense = perplexity(model.network, ids).value
    row = smaller_row(model, ids, again)
    assert row["perplexity"] == pytest.approx(dense, rel=1e-9)
    sizes = [4 if parameter.dim() == 1 else 2 for parameter in again.network.parameters()]
    counts = [parameter.numel() for parameter in again.network.parameters()]
    assert row["bytes_file"] == sum(size * count for size, count in zip(sizes, counts, strict=True))


def test_fewer_tokens_for_the_same_text_count_as_such(llama_folder: Path) -> None:
    """A tokenizer with twice as long tokens: its loss counts half per token of the first model."""
    model, other = load(str(llama_folder)), load(str(llama_folder))

    class Pairs:
        def __call__(self, text: str, **_: object) -> dict:
            return model.tokenizer(text[::2])

        def decode(self, ids: torch.Tensor, **_: object) -> str:
            return "".join(2 * letter for letter in model.tokenizer.decode(ids))

    object.__setattr__(other, "tokenizer", Pairs())
    ids = encode("aabbccddeeffgghhiijjkkll", model.tokenizer)[None]
    own = perplexity(other.network, ids[:, ::2]).value
    row = smaller_row(model, ids, other)
    assert row["perplexity"] == pytest.approx(math.exp(math.log(own) / 2), rel=1e-9)
