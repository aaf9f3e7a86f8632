"""The real model packed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from wanda_core import Recipe, calibration_windows, encode
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning
from wanda_core.speed.packed_model import packed

TIE = 1e-3
"""Greedy decoding may take another token where the two best logits are this close."""


def greedy(network: PreTrainedModel, prompt: Tensor, count: int) -> tuple[list[int], list[float]]:
    """Tokens of greedy decoding through `generate`, and how far the best logit is above the second at each."""
    written = network.generate(
        prompt, do_sample=False, max_new_tokens=count, eos_token_id=-1, return_dict_in_generate=True,
        output_logits=True,
    )  # fmt: skip
    best = torch.stack(written.logits)[:, 0].topk(2).values
    return written.sequences[0, prompt.shape[1] :].tolist(), (best[:, 0] - best[:, 1]).tolist()


def assert_same_text(
    network: PreTrainedModel, pruning: Pruning, prunable: PrunableModel, prompt: Tensor
) -> int:
    """Greedy tokens agree up to the first place where masked dense itself hardly decides; how many that were."""
    with pruning.applied(prunable):
        expected, margins = greedy(network, prompt, 40)
    with packed(prunable, pruning):
        tokens, _ = greedy(network, prompt, 40)
    for place, (token, wanted, margin) in enumerate(zip(tokens, expected, margins, strict=True)):
        if token != wanted:
            assert margin < TIE, (place, margin)
            return place
    return len(tokens)


@pytest.mark.real
@pytest.mark.usefixtures("wikitext")  # first: without it no model is loaded
def test_the_same_text_from_a_real_model(smollm2_model: LanguageModel, wikitext: Path) -> None:
    ids = encode(wikitext.read_text(encoding="utf-8")[:200_000], smollm2_model.tokenizer)
    windows = calibration_windows(ids, 2, 128, seed=0)
    pruning = prune(smollm2_model.prunable, windows, Recipe(pattern="2:4"))
    network, prunable = smollm2_model.network, smollm2_model.prunable
    agreed = [assert_same_text(network, pruning, prunable, ids[None, at : at + 24]) for at in (0, 5000)]
    assert max(agreed) > 10
