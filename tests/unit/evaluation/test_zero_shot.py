"""Zero-shot questions: a small task of our own through the real harness, and the intervals by other means."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.models import assert_untouched, byte_tokenizer, snapshot, tiny
from tests.support.server import ROOT
from wanda_core import LanguageModel, Recipe, Refused, Stopped, evaluation, find_prunable_layers, load
from wanda_core.evaluation.zero_shot import zero_shot
from wanda_core.evaluation.zero_shot_answers import Answers
from wanda_core.evaluation.zero_shot_tasks import TASKS
from wanda_core.pruning.prune_model import prune

pytest.importorskip("lm_eval")


QUESTIONS = [
    ("The fox was", [" hungry", " hungri", "zzzzzz"], 0),
    ("Once upon a", [" tune", " time"], 1),
    ("In the evening they ate a plum", [" pie", " stone wall"], 0),
    ("She lived among the tall", [" of", " rushes"], 1),
    ("He could not do it, and", [" he was sad", " he he he"], 0),
    ('"I can do it!"', [" cried Nina.", " cabbages."], 0),
    ("Every day after", [" school", " after"], 1),
    ("The miller had made her a grey", [" jumper", " was"], 0),
]
"""Text, its possible continuations, and which is held to be right; not all as the model will have it."""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [
        json.dumps({"text": text, "choices": choices, "right": right}) for text, choices, right in QUESTIONS
    ]
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {
        "task": "ours",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(file.parent / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{right}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
    }


@pytest.fixture(scope="module")
def pocket() -> LanguageModel:
    return load("pocket", device="cpu")


def pruned(model: LanguageModel, method: str = "magnitude", sparsity: float = 0.8) -> Any:
    tokens = torch.randint(200, (2, 24), generator=torch.Generator().manual_seed(1))
    return prune(model.prunable, tokens, Recipe(method=method, sparsity=sparsity))


@torch.no_grad()
def right_by_hand(model: LanguageModel) -> tuple[bool, ...]:
    """Which questions the model gets right as it computes now: every continuation weighed on its own."""
    answers = []
    for text, choices, right in QUESTIONS:
        weighed = []
        for choice in choices:
            start = len(model.tokenizer(text)["input_ids"])
            ids = torch.tensor([model.tokenizer(text + choice)["input_ids"]])
            logs = model.network(ids).logits[0].double().log_softmax(-1)
            weighed.append(sum(logs[i - 1, ids[0, i]].item() for i in range(start, ids.shape[1])))
        answers.append(int(np.argmax(weighed)) == right)
    return tuple(answers)


def test_answers_are_those_of_the_likelihoods(pocket: LanguageModel, task: dict[str, Any]) -> None:
    pruning = pruned(pocket)
    before = snapshot(pocket.network)
    weights = [layer.module.weight for layer in pocket.prunable.layers]
    (answers,) = zero_shot(pocket, [pruning], [task])
    assert_untouched(pocket.network, before)
    assert all(layer.module.weight is w for layer, w in zip(pocket.prunable.layers, weights, strict=True))
    dense = right_by_hand(pocket)
    with pruning.applied(pocket.prunable):
        expected = (dense, right_by_hand(pocket))
    assert answers.right == expected
    assert answers.right[0] != answers.right[1], "pruning changed no answer: the test shows nothing"
    assert 0 < sum(dense) < len(QUESTIONS)


def test_a_limit_takes_the_first_questions(pocket: LanguageModel, task: dict[str, Any]) -> None:
    (answers,) = zero_shot(pocket, [], [task], limit=3)
    assert answers.right == (right_by_hand(pocket)[:3],)
    assert answers.questions == 3


def test_the_shared_tokenizer_is_left_alone(task: dict[str, Any]) -> None:
    """The harness wants a token to pad with."""
    network = tiny("llama")
    model = LanguageModel("llama", None, "llama", network, byte_tokenizer(), find_prunable_layers(network))
    (answers,) = zero_shot(model, [], [task])
    assert answers.error is None
    assert model.tokenizer.pad_token is None


def test_progress_and_answers_come_while_it_runs(pocket: LanguageModel, task: dict[str, Any]) -> None:
    second = task | {"task": "second"}
    events: list[tuple[str, Any]] = []
    zero_shot(
        pocket,
        [pruned(pocket)],
        [task, second],
        on_answers=lambda answers: events.append(("answers", answers.task)),
        on_progress=lambda share, name: events.append((name, share)),
    )
    shares = [share for name, share in events if name != "answers"]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert len(set(shares)) > 6
    first = events.index(("answers", "ours"))
    assert all(name == "ours" for name, _ in events[:first])
    assert events[-1] == ("answers", "second")


def test_stop_ends_it_and_what_was_answered_is_there(pocket: LanguageModel, task: dict[str, Any]) -> None:
    stop, found = threading.Event(), []
    before = snapshot(pocket.network)

    def on_answers(answers: Answers) -> None:
        found.append(answers)
        stop.set()

    with pytest.raises(Stopped):
        zero_shot(
            pocket, [pruned(pocket)], [task, task | {"task": "second"}], on_answers=on_answers, stop=stop
        )
    assert [answers.task for answers in found] == ["ours"]
    assert_untouched(pocket.network, before)


def test_stop_inside_a_pruned_models_forward(pocket: LanguageModel, task: dict[str, Any]) -> None:
    stop = threading.Event()
    before = snapshot(pocket.network)

    def on_progress(share: float, _: str) -> None:
        if share > 0.5:
            stop.set()

    with pytest.raises(Stopped):
        zero_shot(pocket, [pruned(pocket)], [task], on_progress=on_progress, stop=stop)
    assert_untouched(pocket.network, before)


def test_a_task_that_cannot_be_had_leaves_its_reason_and_the_others_go_on(
    pocket: LanguageModel, task: dict[str, Any]
) -> None:
    missing = task | {"task": "missing", "dataset_kwargs": {"data_files": {"test": "/nowhere/at-all.jsonl"}}}
    without = task | {"task": "without", "metric_list": [{"metric": "acc_norm"}]}
    first, second, third = zero_shot(pocket, [], [missing, without, task])
    assert "could not load the questions of missing" in first.error
    assert "has no accuracy" in second.error
    assert third.questions == len(QUESTIONS)


def test_without_a_network_every_task_of_the_paper_says_so(tmp_path: Path) -> None:
    """In a process of its own, which can look up no name and finds an empty cache."""
    script = (
        "from wanda_core import load\n"
        "from wanda_core.evaluation.zero_shot import zero_shot\n"
        "for answers in zero_shot(load('pocket'), [], limit=2): print(answers.task, '|', answers.error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={
            "PATH": "",
            "HOME": str(tmp_path),
            "HF_HOME": str(tmp_path),
            "PYTHONPATH": f"{ROOT}/tests/support/offline",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=300,  # a guard: it ends in seconds where nothing tries again and again
    )
    lines = done.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines] == list(TASKS)
    assert all("the Hub cannot be reached" in line for line in lines)
    assert done.stderr == ""


def test_a_missing_harness_is_one_sentence(monkeypatch: pytest.MonkeyPatch, pocket: LanguageModel) -> None:
    monkeypatch.delitem(sys.modules, "wanda_core.evaluation.harness", raising=False)
    monkeypatch.delattr(evaluation, "harness", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(Refused, match=r"pip install lm-eval==0\.4\.13"):
        zero_shot(pocket, [])


@pytest.mark.parametrize("limit", [0, -1, 2.5, True])
def test_wrong_limits_are_refused(pocket: LanguageModel, limit: Any) -> None:
    with pytest.raises(Refused, match="whole number"):
        zero_shot(pocket, [], limit=limit)


@pytest.mark.parametrize("tasks", [[], ["mmlu"], ["/etc/passwd"], ["boolq", "../arc"]])
def test_other_tasks_are_refused(pocket: LanguageModel, tasks: list[str]) -> None:
    with pytest.raises(Refused, match="choose among"):
        zero_shot(pocket, [], tasks)
