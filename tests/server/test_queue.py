"""The queue of runs, what is shared, and what is kept; with the real engine on the pocket model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from components.jobs.job import Event, Progress
from components.jobs.queue import Task, Worker
from components.jobs.runner import carry_out
from components.recipe.request import check_panel
from components.results.job import Measure, Outcome
from components.workspace.models import shared_model
from tests.support.queue import PAGE, until
from wanda_core.errors import Refused


def job(**changes: object) -> Measure:
    setup, recipes = check_panel("pocket", ["pocket"], *PAGE)
    return Measure(replace(setup, **changes), recipes)


def rows_of(task: Task) -> list[tuple[str, float]]:
    return [(row["method"], row["perplexity"]) for row in task.outcome.rows]


class Gate:
    """Work that waits to be let go, to see what the queue does meanwhile."""

    def __init__(self) -> None:
        self.begun: list[Measure] = []
        self.closed: list[Measure] = []
        self.open = threading.Event()

    def __call__(self, asked: Measure) -> Iterator[Event]:
        self.begun.append(asked)
        try:
            while not self.open.is_set():
                yield Progress("waiting", 0.5)
                time.sleep(0.005)
            yield Outcome(rows=[{"seed": asked.setup.seed}])
        finally:
            self.closed.append(asked)


def test_the_same_run_is_computed_once_and_everybody_gets_it() -> None:
    gate = Gate()
    worker = Worker(gate)
    tasks = [worker.join(f"student {number}", job()) for number in range(30)]
    gate.open.set()
    until(lambda: all(task.over for task in tasks))
    assert len(gate.begun) == 1
    assert all(task.outcome.rows for task in tasks)


def test_places_in_the_queue_and_its_bound() -> None:
    gate = Gate()
    worker = Worker(gate, waiting=2)
    first = worker.join("a", job(seed=1))
    until(lambda: first.started is not None)
    second, third = worker.join("b", job(seed=2)), worker.join("c", job(seed=3))
    assert [worker.place(task) for task in (first, second, third)] == [0, 1, 2]
    with pytest.raises(Refused, match="2 runs are waiting"):
        worker.join("d", job(seed=4))
    worker.leave("b")
    assert worker.place(third) == 1
    gate.open.set()
    until(lambda: third.over)
    assert [asked.setup.seed for asked in gate.begun] == [1, 3]
    assert third.outcome.rows == [{"seed": 3}]


def test_a_run_goes_on_for_those_who_still_want_it() -> None:
    gate = Gate()
    worker = Worker(gate)
    task = worker.join("stays", job())
    worker.join("leaves", job())
    until(lambda: task.started is not None)
    worker.leave("leaves")
    gate.open.set()
    until(lambda: task.over)
    assert task.outcome.rows


def test_stop_is_quick_and_leaves_the_shared_model_as_it_was() -> None:
    network = shared_model("pocket").network
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    worker = Worker()
    for share in (0.05, 0.3, 0.6):
        task = worker.join("visitor", job(samples=200, length=256, windows=100, seed=int(100 * share)))
        until(lambda task=task, share=share: bool(task.progress and task.progress.share >= share))
        worker.leave("visitor")
        asked = time.monotonic()
        until(lambda task=task: task.over)
        assert time.monotonic() - asked < 5  # 2 s is what a visitor may expect; a busy machine gets more
        for name, weight in network.state_dict().items():
            assert torch.equal(weight, before[name]), name


def test_after_a_stop_the_next_run_is_as_from_a_fresh_start() -> None:
    worker = Worker()
    task = worker.join("visitor", job(samples=100, windows=50, seed=5))
    until(lambda: bool(task.progress and task.progress.share > 0.2))
    again = worker.join("visitor", job(seed=5))
    until(lambda: again.over)
    fresh = [event for event in carry_out(job(seed=5)) if isinstance(event, Outcome)][-1]
    assert rows_of(again) == [(row["method"], row["perplexity"]) for row in fresh.rows]
    assert len(again.outcome.rows) == 3


def test_a_finished_point_is_remembered() -> None:
    def outcome(asked: Measure) -> Outcome:
        return [event for event in carry_out(asked) if isinstance(event, Outcome)][-1]

    first = outcome(job(seed=11))
    second = outcome(job(seed=11))
    assert second.rows == first.rows  # the very seconds, too: nothing was measured again
    assert second.layers == first.layers


def test_a_failure_reaches_the_page_and_the_queue_goes_on() -> None:
    worker = Worker()
    failed = worker.join("visitor", job(length=4096))
    until(lambda: failed.over)
    assert "reads at most 512 tokens" in failed.failure
    fine = worker.join("visitor", job())
    until(lambda: fine.over)
    assert fine.failure is None
