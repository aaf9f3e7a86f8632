"""Questions are fetched before the machine, or a booked GPU, is held for the job."""

from __future__ import annotations

import pytest

from components.jobs.job import Progress
from components.questions.job import Ask
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.evaluation import harness

SETUP = Setup("pocket", "stories", "stories", samples=2, length=64, windows=2)


def test_every_tasks_questions_are_fetched_and_one_that_cannot_be_had_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[str] = []

    def load(name: str, task: object) -> None:
        loaded.append(name)
        raise Refused("could not load the questions")

    monkeypatch.setattr(harness, "load", load)
    said: list[object] = []
    Ask(SETUP, (), ("boolq", "rte"), 5).fetch(said.append)
    assert loaded == ["boolq", "rte"]
    told = [each.doing for each in said if isinstance(each, Progress)]
    assert told[-2:] == ["Fetching the questions of BoolQ", "Fetching the questions of RTE"]
