"""Perplexity against a computation by hand."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.support.losses import losses_by_hand
from tests.support.streaming import Counted, both, stored_in_half
from wanda_core import Refused, Stopped, load
from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.evaluation.perplexity import POSITIONS, perplexity
from wanda_core.models.language_model import LanguageModel

WINDOWS = torch.randint(256, (5, 40), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


def test_perplexity_by_hand(network: PreTrainedModel) -> None:
    losses = losses_by_hand(network, WINDOWS)
    mean = math.fsum(losses) / 5
    deviation = math.sqrt(math.fsum((loss - mean) ** 2 for loss in losses) / 4)
    margin = 2.7764451 * deviation / math.sqrt(5)  # 97.5% quantile of Student's t with 4 degrees of freedom
    measured = perplexity(network, WINDOWS)
    assert measured.value == pytest.approx(math.exp(mean), rel=1e-5)
    assert measured.low == pytest.approx(math.exp(mean - margin), rel=1e-5)
    assert measured.high == pytest.approx(math.exp(mean + margin), rel=1e-5)
    assert measured.window_losses == pytest.approx(losses, rel=1e-5)


class Uniform(torch.nn.Module):
    """A model that knows nothing: its perplexity is the size of its vocabulary. Or one that answers `value`."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))
        self.embeddings = torch.nn.Embedding(257, 1)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.embeddings

    def forward(self, input_ids: Tensor, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=self.value.expand(*input_ids.shape, 257))


@pytest.mark.parametrize("length", [2, POSITIONS, POSITIONS + 1, POSITIONS + 2, 2 * POSITIONS + 7])
def test_every_position_counts_once(length: int) -> None:
    assert perplexity(Uniform(), torch.zeros(2, length, dtype=torch.int64)).value == pytest.approx(
        257, rel=1e-5
    )


@pytest.mark.parametrize("token", [257, -1])
def test_a_token_that_the_model_lacks_is_refused(model: LanguageModel, token: int) -> None:
    windows = WINDOWS.clone()
    windows[4, 39] = token
    with pytest.raises(Refused, match="evaluation holds a token outside the model's vocabulary of 257"):
        perplexity(model.network, windows)


def test_one_window_has_no_interval() -> None:
    measured = perplexity(Uniform(), WINDOWS[:1])
    assert (measured.low, measured.high) == (None, None)


def test_evaluation_reports_and_stops() -> None:
    seen: list[float] = []
    perplexity(Uniform(), WINDOWS, on_progress=lambda share, _: seen.append(share))
    assert seen == [0.2, 0.4, 0.6, 0.8, 1.0]
    stop = threading.Event()
    with pytest.raises(Stopped):
        perplexity(Uniform(), WINDOWS, on_progress=lambda *_: stop.set(), stop=stop)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_model_has_no_perplexity_but_is_no_crash(value: float) -> None:
    measured = perplexity(Uniform(value), WINDOWS)
    assert not math.isfinite(measured.value)
    assert not math.isfinite(measured.high)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_streamed_model_reads_each_weight_once_for_all_windows(family: str, tmp_path: Path) -> None:
    plain, streamed = both(stored_in_half(family, tmp_path))
    windows = torch.randint(256, (16, 24), generator=torch.Generator().manual_seed(3))
    counted, told = Counted(streamed), []
    wanted, found = DenseAnswers(), DenseAnswers()
    measured = perplexity(plain.network, windows, record=wanted)
    again = perplexity(streamed.network, windows, record=found, on_progress=lambda *x: told.append(x))
    assert again == measured
    assert counted.times.pop("transformer.wte.weight", 2) == 2  # where it is tied: as embedding and as head
    assert set(counted.times.values()) == {1}
    assert told[-1][0] == 1.0
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    dense = perplexity(plain.network, windows, dense=found)  # what was recorded is the same, too
    assert (dense.kl_to_dense, dense.top1_changed) == (0.0, 0.0)


def test_stopping_a_streamed_evaluation_leaves_nothing_in_memory(tmp_path: Path) -> None:
    model = load(stored_in_half("llama", tmp_path), stream=True)
    stop = threading.Event()
    windows = torch.randint(256, (3, 24), generator=torch.Generator().manual_seed(3))
    with pytest.raises(Stopped):
        perplexity(model.network, windows, stop=stop, on_progress=lambda *_: stop.set())
    assert {p.dtype for p in model.network.parameters()} == {torch.bfloat16}
