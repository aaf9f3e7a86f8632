"""What the harness is told and what is given back to its libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

import datasets
from huggingface_hub import constants

from tests.support.server import free_port
from wanda_core import Refused, load
from wanda_core.evaluation import harness


def offline_inside() -> bool:
    with harness._from_cache_where_offline():
        return datasets.config.HF_HUB_OFFLINE


def test_where_the_hub_is_out_of_reach_only_the_cache_is_asked_and_only_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert offline_inside()
    assert datasets.config.HF_HUB_OFFLINE is False
    with pytest.raises(KeyError), harness._from_cache_where_offline():
        raise KeyError
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_task_without_accuracy_for_each_question_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"text": "The fox was", "right": " hungry"}) + "\n", encoding="utf-8")
    task: dict[str, Any] = {
        "task": "ours",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(tmp_path / "cache")},
        "test_split": "test",
        "output_type": "loglikelihood",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{right}}",
        "metric_list": [{"metric": "perplexity"}],
    }
    with pytest.raises(Refused, match="ours has no accuracy for each question"):
        harness.ask(load("pocket"), [], "ours", task, None, lambda share: None, None)
