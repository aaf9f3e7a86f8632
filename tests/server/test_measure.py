"""Measurements by the real engine on the pocket model: what is kept, what stops, and what is the same afterwards."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from components.cache import RESULTS
from components.cost.job import Measure, points_of
from components.cost.outcome import Outcome
from components.cost.request import default_measure
from components.jobs.job import Event, Failure, Progress
from components.jobs.runner import carry_out
from components.workspace.focus import Focus
from components.workspace.measured_rows import has_measured
from components.workspace.models import shared_model
from wanda_core import Recipe
from wanda_core.assets import ASSETS
from wanda_core.errors import Stopped
from wanda_core.texts.sources import Text, read_text

RECIPES = (Recipe(method="wanda", sparsity=0.5), Recipe(method="magnitude", sparsity=0.5))


def job(seeds: tuple[int, ...] = (0,), recipes: tuple[Recipe, ...] = RECIPES, **changes: Any) -> Measure:
    setup = replace(
        default_measure("pocket").setup, samples=2, length=128, windows=3, seed=seeds[0], **changes
    )
    return Measure(setup, points_of(setup, recipes, seeds))


def forget() -> None:
    for key in RESULTS.all_keys():
        RESULTS.drop(key)


def outcome_of(asked: Measure) -> Outcome:
    return [event for event in carry_out(asked) if isinstance(event, Outcome)][-1]


def test_rows_follow_the_points_and_open_as_points_in_focus() -> None:
    outcome = outcome_of(job(seeds=(7, 8)))
    assert [(row["method"], row["seed"]) for row in outcome.rows[1:]] == [
        ("wanda", 7),
        ("wanda", 8),
        ("magnitude", 7),
    ]
    assert outcome.focus_of(0) is None
    focus = outcome.focus_of(2)
    assert isinstance(focus, Focus)
    assert (focus.recipe.seed, focus.setup.seed, focus.label) == (8, 8, "Wanda 50%")
    assert outcome.index_of(focus) == 2
    assert sorted(outcome.layers) == [1, 2, 3]
    assert has_measured(focus.setup, focus.recipe)
    assert has_measured(focus.setup, None)
    assert not has_measured(focus.setup, replace(focus.recipe, sparsity=0.6))


def test_a_finished_point_is_remembered() -> None:
    first, second = outcome_of(job(seeds=(11,))), outcome_of(job(seeds=(11,)))
    assert second.rows == first.rows  # the very seconds, too: nothing was measured again
    assert second.layers == first.layers
    assert second.run != first.run


def test_int8_and_a_smaller_model_stand_beside_the_points() -> None:
    asked = replace(job(), int8=True, smaller="pocket")
    rows = outcome_of(asked).rows
    assert [row["method"] for row in rows[-2:]] == ["int8", "dense pocket"]
    assert rows[-1]["perplexity"] == pytest.approx(rows[0]["perplexity"], rel=0.2)
    assert outcome_of(asked).planned == 5


def test_after_a_stop_the_model_is_dense_and_a_run_is_as_from_a_fresh_start() -> None:
    network = shared_model("pocket").network
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    stop = threading.Event()

    def put(event: Event) -> None:
        if isinstance(event, Progress) and event.share > 0.4:
            stop.set()

    with pytest.raises(Stopped):
        job(seeds=(21,)).compute(put, stop)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, before[name]), name
    again = outcome_of(job(seeds=(21,)))
    assert [row["perplexity"] for row in again.rows[1:2]] == [
        outcome_of(job(seeds=(21,))).rows[1]["perplexity"]
    ]


def test_what_cannot_be_had_fails_as_a_whole() -> None:
    events = list(carry_out(job(calibration="own", evaluation="own", own_text="too short")))
    (failure,) = (event for event in events if isinstance(event, Failure))
    assert "give a longer text" in failure.message


def test_the_chat_template_of_the_panel_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = shared_model("pocket").tokenizer
    assert not tokenizer.chat_template
    (failure,) = (event for event in carry_out(job(chat=True)) if isinstance(event, Failure))
    assert "no chat template" in failure.message
    monkeypatch.setattr(
        tokenizer,
        "chat_template",
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    )
    plain, chat = outcome_of(job(seeds=(31,))), outcome_of(job(seeds=(31,), chat=True))
    assert chat.protocol["chat"] is True
    assert chat.protocol["calibration_sha256"] != plain.protocol["calibration_sha256"]
    talks = [[{"role": "user", "content": f"{number}: once upon a time " * 40}] for number in range(9)]
    own = {"own_text": "\n\n".join(talk[0]["content"] for talk in talks), "own_name": "talks.jsonl"}
    mine = job(chat=True, calibration="file", own_conversations=json.dumps(talks), **own)
    assert outcome_of(mine).protocol["calibration"] == "talks.jsonl"


def test_split_and_column_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    stories = read_text(str(ASSETS / "pocket" / "calibration.txt"), "calibration")

    def read(spec: str, *_: Any, **__: Any) -> Text:
        asked.append(spec)
        return stories

    monkeypatch.setattr("wanda_core.texts.sources.read_text", read)
    outcome_of(job(calibration="dataset", dataset="owner/name", split="test", column="body"))
    assert "owner/name@test#body" in asked
