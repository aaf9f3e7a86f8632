"""SparseGPT on SmolLM2-135M."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from wanda_core import LanguageModel, Recipe
from wanda_core.evaluation.perplexity import perplexity
from wanda_core.pruning.prune_model import prune
from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.usefixtures("wikitext")]


@pytest.fixture(scope="module")
def model(smollm2_model: LanguageModel) -> LanguageModel:
    return smollm2_model


@pytest.fixture(scope="module")
def text(model: LanguageModel, wikitext: Path) -> Tensor:
    return encode(wikitext.read_text(encoding="utf-8"), model.tokenizer)


def _windows(text: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Calibration tokens of other text than the first 16 evaluation windows of 512 tokens, and those."""
    evaluation = evaluation_windows(text, 16, 512)
    return calibration_windows(text, 16, 512, seed, evaluation.numel()), evaluation


def test_sparsegpt_at_half_the_weights(model: LanguageModel, text: Tensor) -> None:
    tokens, evaluation = _windows(text, seed=1)
    pruning = prune(model.prunable, tokens, Recipe(method="sparsegpt"))
    assert pruning.sparsity == pytest.approx(0.5, abs=1e-4)
    with pruning.applied(model.prunable):
        assert 62 < perplexity(model.network, evaluation).value < 75
