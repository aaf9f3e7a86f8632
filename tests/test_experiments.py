"""Perplexity against its definition; comparisons that fail in part, go on, and are written whole."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.conftest import assert_untouched, snapshot
from wanda_core import Recipe, Refused, Stopped, load
from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.evaluation.perplexity import POSITIONS, perplexity
from wanda_core.experiments.compare import compare
from wanda_core.experiments.rows import COLUMNS, load_json, save_csv, save_json
from wanda_core.models.language_model import LanguageModel

WINDOWS = torch.randint(256, (5, 40), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


def losses_by_hand(network: PreTrainedModel, windows: Tensor) -> list[float]:
    """Mean negative log-likelihood of every window: softmax in float64, one token after the other."""
    losses = []
    for window in windows:
        logits = network(input_ids=window[None]).logits[0].double()
        terms = [
            math.log(math.fsum(torch.exp(logits[i] - logits[i].max()).tolist()))
            - float(logits[i, window[i + 1]] - logits[i].max())
            for i in range(len(window) - 1)
        ]
        losses.append(math.fsum(terms) / len(terms))
    return losses


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


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_stays_valid(tmp_path: Path, value: float) -> None:
    row = dict.fromkeys(COLUMNS) | {
        "method": "wanda",
        "perplexity": value,
        "perplexity_low": value,
    }
    file = tmp_path / "rows.json"
    save_json(file, {"source": "tiny"}, [row])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(file.read_text(), parse_constant=refuse)
    assert content == {
        "protocol": {"source": "tiny"},
        "rows": [row | {"perplexity": None, "perplexity_low": None}],
    }
    assert load_json(file)[1] == content["rows"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_model_has_no_perplexity_but_is_no_crash(value: float) -> None:
    measured = perplexity(Uniform(value), WINDOWS)
    assert not math.isfinite(measured.value)
    assert not math.isfinite(measured.high)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"protocol": {}}',
        '{"protocol": {}, "rows": [{"a": 1}]}',
        '{"protocol":1,"rows":[]}',
        json.dumps({"protocol": {}, "rows": [list(COLUMNS)]}),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(content)
    with pytest.raises(Refused, match="does not hold the results"):
        load_json(file)


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.json"
    file.write_text("old")

    def full(self: Path, *_args: object, **_options: object) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Refused, match="No space left"):
        save_json(file, {}, [])
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_csv_reads_back(model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    import pandas as pd

    rows = compare(model, tokens, WINDOWS, RECIPES)
    save_csv(tmp_path / "rows.csv", rows)
    read = pd.read_csv(tmp_path / "rows.csv")
    assert tuple(read.columns) == COLUMNS
    assert read["perplexity"].tolist()[:2] == [row["perplexity"] for row in rows[:2]]
    assert read["error"].tolist()[2] == rows[2]["error"]
