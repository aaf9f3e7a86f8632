"""Divergence from the dense model and changed first choices, against float64 softmax written out token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from transformers import PreTrainedModel

from tests.support.models import tiny
from wanda_core import Refused
from wanda_core.evaluation import dense_answers
from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.evaluation.perplexity import Perplexity, perplexity
from wanda_core.evaluation.student_t import t_quantile

WINDOWS = torch.randint(256, (3, 150), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def dense() -> PreTrainedModel:
    return sharpened(tiny("llama"))


@pytest.fixture
def changed(dense: PreTrainedModel) -> PreTrainedModel:
    """Not the dense model: every third weight of its blocks is gone."""
    network = sharpened(tiny("llama"))
    for name, weight in network.named_parameters():
        if "proj" in name:
            weight.reshape(-1)[::3] = 0
    return network


def sharpened(network: PreTrainedModel) -> PreTrainedModel:
    """A random model's answers are nearly uniform: here they are as unlike as a trained model's."""
    network.lm_head.weight.mul_(60)
    return network


def distributions(network: PreTrainedModel, windows: Tensor) -> np.ndarray:
    """(positions, vocabulary), float64."""
    found = []
    for window in windows:
        logits = network(input_ids=window[None]).logits[0, :-1].double().numpy()
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        found.append(weights / weights.sum(axis=1, keepdims=True))
    return np.concatenate(found)


def held_against(dense: PreTrainedModel, other: PreTrainedModel, answers: DenseAnswers) -> Perplexity:
    perplexity(dense, WINDOWS, record=answers)
    return perplexity(other, WINDOWS, dense=answers)


def test_divergence_by_its_definition(dense: PreTrainedModel, changed: PreTrainedModel) -> None:
    p, q = distributions(dense, WINDOWS), distributions(changed, WINDOWS)
    answers = DenseAnswers()
    measured = held_against(dense, changed, answers)
    assert answers.exact
    assert measured.kl_to_dense == pytest.approx(stats.entropy(p, q, axis=1).mean(), rel=1e-5)
    assert measured.kl_to_dense > 0.1
    assert measured.top1_changed == (p.argmax(axis=1) != q.argmax(axis=1)).mean()
    assert 0.05 < measured.top1_changed < 0.95


def test_beyond_the_memory_the_rest_counts_as_one_token(
    dense: PreTrainedModel, changed: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_answers, "TOP", 5)
    answers = DenseAnswers(most_bytes=1000)
    measured = held_against(dense, changed, answers)
    p, q = distributions(dense, WINDOWS), distributions(changed, WINDOWS)
    top = np.argsort(-p, axis=1)[:, :5]
    merged = [np.take_along_axis(of, top, axis=1) for of in (p, q)]
    merged = [np.c_[of, 1 - of.sum(axis=1)] for of in merged]
    assert not answers.exact
    assert measured.kl_to_dense == pytest.approx(stats.entropy(*merged, axis=1).mean(), rel=1e-4)
    whole = stats.entropy(p, q, axis=1).mean()
    assert 0.3 * whole < measured.kl_to_dense < whole
    assert measured.top1_changed == (p.argmax(axis=1) != q.argmax(axis=1)).mean()
    assert answers.nbytes == 3 * 149 * (5 * 4 + 5 * 8 + 8 + 8)


@pytest.mark.parametrize("most_bytes", [2**30, 0])
def test_the_dense_model_does_not_differ_from_itself(dense: PreTrainedModel, most_bytes: int) -> None:
    answers = DenseAnswers(most_bytes)
    recorded = perplexity(dense, WINDOWS, record=answers)
    again = perplexity(dense, WINDOWS, dense=answers)
    assert (again.kl_to_dense, again.top1_changed) == (0.0, 0.0)
    assert again == recorded


def test_a_token_ruled_out_by_both_counts_nothing(dense: PreTrainedModel, changed: PreTrainedModel) -> None:
    def without_padding(module: object, inputs: object, output: Tensor) -> Tensor:
        return output.index_fill(-1, torch.tensor([256]), -math.inf)

    for network in (dense, changed):
        network.lm_head.register_forward_hook(without_padding)
    p, q = distributions(dense, WINDOWS), distributions(changed, WINDOWS)
    measured = held_against(dense, changed, DenseAnswers())
    assert measured.kl_to_dense == pytest.approx(stats.entropy(p, q, axis=1).mean(), rel=1e-5)


def test_without_a_dense_model_there_is_nothing_to_say(dense: PreTrainedModel) -> None:
    measured = perplexity(dense, WINDOWS)
    assert (measured.kl_to_dense, measured.top1_changed) == (None, None)


def test_answers_of_other_windows_are_refused(dense: PreTrainedModel) -> None:
    answers = DenseAnswers()
    with pytest.raises(Refused, match="has not been evaluated on these windows"):
        perplexity(dense, WINDOWS, dense=answers)
    perplexity(dense, WINDOWS, record=answers)
    with pytest.raises(Refused, match="has not been evaluated on these windows"):
        perplexity(dense, WINDOWS[:2], dense=answers)


def test_window_losses_are_those_of_each_window_alone(dense: PreTrainedModel) -> None:
    whole = perplexity(dense, WINDOWS)
    assert whole.window_losses == [perplexity(dense, w[None]).window_losses[0] for w in WINDOWS]
    p = distributions(dense, WINDOWS).reshape(3, 149, -1)
    targets = WINDOWS[:, 1:, None].numpy()
    by_hand = -np.log(np.take_along_axis(p, targets, axis=2)).mean(axis=(1, 2))
    assert whole.window_losses == pytest.approx(by_hand, rel=1e-5)
    low, high = stats.t.interval(0.95, 2, by_hand.mean(), stats.sem(by_hand))
    assert (whole.low, whole.high) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-5)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 8, 28, 29, 100, 1001])
def test_quantiles_of_students_t(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)
