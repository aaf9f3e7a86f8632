"""Texts of the real model."""

from __future__ import annotations

import threading

import pytest
import torch

from tests.support.generation import expected
from wanda_core import LanguageModel, Recipe, Stopped
from wanda_core.generation.sampling import Sampling
from wanda_core.generation.side_by_side import encode_prompt, generate_side_by_side
from wanda_core.pruning.prune_model import prune

pytestmark = [pytest.mark.real, pytest.mark.long]


def test_the_real_model_through_its_chat_template(smollm2_model: LanguageModel) -> None:
    model = smollm2_model
    prompt = encode_prompt(model, "Why is the sky blue?")
    assert "<|im_start|>assistant" in model.tokenizer.decode(prompt[0])
    tokens = torch.randint(40_000, (4, 64), generator=torch.Generator().manual_seed(1))
    pruning = prune(model.prunable, tokens, Recipe(method="magnitude", sparsity=0.3))
    sampling = Sampling(new_tokens=20)
    writings = generate_side_by_side(model, prompt, [pruning], sampling)
    assert [w.tokens for w in writings] == expected(model, prompt, [pruning], sampling)
    assert writings[0].perplexity < writings[1].perplexity


def test_stop_ends_the_real_model_within_a_block(smollm2_model: LanguageModel) -> None:
    stop = threading.Event()
    began: list[int] = []

    def begins(block: int) -> None:
        began.append(block)
        if len(began) == 40:  # in the middle of the second token's forward
            stop.set()

    blocks = smollm2_model.network.model.layers
    hooks = [b.register_forward_pre_hook(lambda *_, n=n: begins(n)) for n, b in enumerate(blocks)]
    try:
        with pytest.raises(Stopped):
            generate_side_by_side(
                smollm2_model,
                encode_prompt(smollm2_model, "Tell me a story. " * 60),
                [],
                Sampling(new_tokens=1000),
                stop=stop,
            )
    finally:
        for hook in hooks:
            hook.remove()
    assert len(began) <= 41
