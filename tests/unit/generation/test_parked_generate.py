"""One text's `generate`, step by step, beside others."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig

from tests.support.models import byte_tokenizer, tiny
from wanda_core import LanguageModel, Recipe, find_prunable_layers
from wanda_core.generation.parked_generate import ParkedText, Weights, weights_of
from wanda_core.pruning.prune_model import prune

PROMPT = torch.arange(60, 70)[None]


@pytest.fixture
def model() -> LanguageModel:
    network = tiny("llama")
    return LanguageModel("llama", None, "llama", network, byte_tokenizer(), find_prunable_layers(network))


def drawn(tokens: int = 12) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=tokens, do_sample=True, top_k=0, eos_token_id=256, pad_token_id=256
    )


def alone(model: LanguageModel, seed: int) -> list[int]:
    torch.manual_seed(seed)
    mask = torch.ones_like(PROMPT)
    return model.network.generate(PROMPT, attention_mask=mask, generation_config=drawn())[0, 10:].tolist()


def parked(model: LanguageModel, seed: int) -> ParkedText:
    torch.manual_seed(seed)
    return ParkedText(model, PROMPT, drawn(), Weights.now(model.prunable))


def test_texts_that_take_turns_draw_as_they_do_alone(model: LanguageModel) -> None:
    expected = [alone(model, seed) for seed in (1, 2)]
    assert expected[0] != expected[1]
    texts = [parked(model, seed) for seed in (1, 2)]
    written: list[list[int]] = [[], []]
    while any(steps := [text.step() for text in texts]):
        for tokens, token in zip(written, steps, strict=True):
            if token is not None:
                tokens.append(token)
    assert written == expected
    assert torch.is_grad_enabled()  # `generate` parks without gradients


def test_a_text_that_has_ended_says_so_and_one_that_is_closed_ends(model: LanguageModel) -> None:
    ended = ParkedText(model, PROMPT, drawn(tokens=1), Weights.now(model.prunable))
    assert isinstance(ended.step(), int)
    assert ended.step() is None
    ended.close()
    seen: list[str] = []
    hook = model.network.register_forward_hook(lambda *_: seen.append("forward"))
    text = parked(model, 1)
    text.step()
    assert torch.is_grad_enabled()
    text.close()
    text.close()  # nothing to end any more
    assert torch.is_grad_enabled()
    hook.remove()
    assert seen == ["forward"]


@pytest.mark.parametrize("pack", [False, True])
def test_weights_are_put_and_taken_back(model: LanguageModel, pack: bool) -> None:
    pruning = prune(model.prunable, torch.randint(200, (2, 24)), Recipe(pattern="2:4"))
    dense = Weights.now(model.prunable)
    layer = model.prunable.layers[0]
    inputs = torch.randn(3, layer.weight.shape[1], generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        before = layer.module(inputs)
        weights, how = weights_of(model.prunable, pruning, pack, None)
        assert (how is not None) == pack
        assert torch.equal(layer.module(inputs), before)  # made, and not put
        weights.put()
        masked = inputs @ (layer.weight * pruning.masks[layer.name].unpack()).t()
        torch.testing.assert_close(layer.module(inputs), masked)
        dense.put()
        assert torch.equal(layer.module(inputs), before)
    assert layer.parameter.data_ptr() == layer.stored.data_ptr()
    assert "forward" not in vars(layer.module)
