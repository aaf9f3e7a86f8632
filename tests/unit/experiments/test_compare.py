"""Many recipes on one model: failures, stops, what is known already."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.losses import losses_by_hand
from tests.support.models import assert_untouched, snapshot
from wanda_core import Recipe, Stopped, load
from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.experiments.compare import compare
from wanda_core.experiments.rows import COLUMNS
from wanda_core.models.language_model import LanguageModel

WINDOWS = torch.randint(256, (5, 40), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


RECIPES = [Recipe(method="magnitude"), Recipe(pattern="2:5"), Recipe(sparsity=0.3)]


def test_a_point_that_fails_leaves_its_reason(model: LanguageModel, tokens: Tensor) -> None:
    before = snapshot(model.network)
    rows = compare(model, tokens, WINDOWS, RECIPES)
    assert_untouched(model.network, before)
    assert [row["method"] for row in rows] == ["dense", "magnitude", "wanda", "wanda"]
    assert [row["error"] is None for row in rows] == [True, True, False, True]
    assert "2:5 does not divide" in rows[2]["error"]
    assert rows[2]["perplexity"] is None
    assert rows[0]["perplexity"] == pytest.approx(
        math.exp(sum(losses_by_hand(model.network, WINDOWS)) / 5), 1e-5
    )
    assert rows[1]["perplexity"] != rows[0]["perplexity"] != rows[3]["perplexity"]
    assert rows[1]["sparsity_reached"] == 0.5
    assert all(tuple(row) == COLUMNS for row in rows)


def test_an_update_that_diverges_leaves_its_reason_and_the_others_go_on(
    model: LanguageModel, tokens: Tensor
) -> None:
    up, last = model.prunable.layers[-2:]
    up.weight.mul_(1e20)  # norms of what comes out are still float32, their products are not
    recipes = [Recipe(method="sparsegpt"), Recipe(method="wanda+admm"), Recipe(sparsity=0.3)]
    rows = compare(model, tokens, WINDOWS, recipes)
    assert f"sparsegpt gives NaN or infinite weights in {last.name}" in rows[1]["error"]
    assert f"{last.name}: its Gram matrix cannot be factorised" in rows[2]["error"]
    assert rows[1]["perplexity"] is rows[2]["perplexity"] is None
    assert rows[0]["error"] is rows[3]["error"] is None
    assert math.isfinite(rows[3]["perplexity"])


def test_stopped_between_points(model: LanguageModel, tokens: Tensor) -> None:
    stop, rows = threading.Event(), []

    def keep(row, _pruning) -> None:
        rows.append(row)
        if len(rows) == 2:
            stop.set()

    before = snapshot(model.network)
    with pytest.raises(Stopped):
        compare(model, tokens, WINDOWS, RECIPES, on_row=keep, stop=stop)
    assert [row["method"] for row in rows] == ["dense", "magnitude"]
    assert_untouched(model.network, before)


def test_known_points_are_not_measured_again(model: LanguageModel, tokens: Tensor) -> None:
    first = compare(model, tokens, WINDOWS, RECIPES)
    measured = []
    again = compare(
        model,
        tokens,
        WINDOWS,
        [*RECIPES, Recipe(method="random")],
        known=first,
        on_progress=lambda doing, *_: measured.append(doing.split(" ", 1)[1]),
    )
    assert again[:4] == first
    # The dense model once more: a new point is held against its answers, which a row does not hold.
    assert list(dict.fromkeys(measured)) == ["random 50%", "dense"]


def test_answers_at_hand_are_used(model: LanguageModel, tokens: Tensor) -> None:
    answers, measured = DenseAnswers(), []
    first = compare(model, tokens, WINDOWS, RECIPES, answers=answers)
    again = compare(
        model,
        tokens,
        WINDOWS,
        [*RECIPES, Recipe(method="random")],
        known=first,
        answers=answers,
        on_progress=lambda doing, *_: measured.append(doing.split(" ", 1)[1]),
    )
    assert set(measured) == {"random 50%"}
    assert again[4]["perplexity"] is not None


def test_known_points_have_no_pruning(model: LanguageModel, tokens: Tensor) -> None:
    first, made = compare(model, tokens, WINDOWS, RECIPES), []
    compare(
        model,
        tokens,
        WINDOWS,
        [*RECIPES, Recipe(method="random")],
        known=first,
        on_row=lambda row, pruning: made.append(pruning),
    )
    assert [pruning is not None for pruning in made] == [False, False, False, False, True]
