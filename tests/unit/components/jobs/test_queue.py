"""The queue: shared jobs, places, owners who come back, and jobs that nobody wants any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from components.jobs import queue
from components.jobs.job import Event, Failure, Job, Progress, Put
from components.jobs.queue import Worker
from wanda_core.errors import Refused


@dataclass(frozen=True)
class Numbered(Job):
    """A job that is only told apart."""

    number: int = 0

    def compute(self, put: Put, stop: threading.Event) -> None:
        raise AssertionError("the gate does the work")


class Gate:
    """Work that waits to be let go, to see what the queue does meanwhile."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.closed: list[int] = []
        self.open = threading.Event()

    def __call__(self, asked: Job) -> Iterator[Event]:
        assert isinstance(asked, Numbered)
        self.begun.append(asked.number)
        try:
            while not self.open.is_set():
                yield Progress("waiting", 0.5)
                time.sleep(0.005)
            yield asked.number
        finally:
            self.closed.append(asked.number)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_the_same_job_is_computed_once_and_everybody_gets_it(gate: Gate) -> None:
    worker = Worker(gate)
    tasks = [worker.join(f"student {number}", "cost", Numbered()) for number in range(30)]
    gate.open.set()
    until(lambda: all(task.over for task in tasks))
    assert gate.begun == [0]
    assert {task.outcome for task in tasks} == {0}


def test_places_in_the_queue_and_its_bound(gate: Gate) -> None:
    worker = Worker(gate, waiting=2)
    first = worker.join("a", "cost", Numbered(1))
    until(lambda: first.started is not None)
    second, third = worker.join("b", "cost", Numbered(2)), worker.join("c", "cost", Numbered(3))
    assert [worker.place(task) for task in (first, second, third)] == [0, 1, 2]
    with pytest.raises(Refused, match="2 runs are waiting"):
        worker.join("d", "cost", Numbered(4))
    worker.leave("b")
    assert worker.place(third) == 1
    assert second.over
    gate.open.set()
    until(lambda: third.over)
    assert gate.begun == [1, 3]


def test_a_job_goes_on_for_those_who_still_want_it(gate: Gate) -> None:
    worker = Worker(gate)
    task = worker.join("stays", "cost", Numbered())
    worker.join("leaves", "cost", Numbered())
    until(lambda: task.started is not None)
    worker.leave("leaves")
    gate.open.set()
    until(lambda: task.over)
    assert task.outcome == 0


def test_an_owner_finds_the_last_task_of_each_view_again(gate: Gate) -> None:
    worker = Worker(gate)
    cost = worker.join("visitor", "cost", Numbered(1))
    text = worker.join("visitor", "text", Numbered(2))
    assert worker.last("visitor", "cost") is cost
    assert worker.last("visitor", "text") is text
    assert worker.last("visitor", "speed") is None
    assert worker.last("another", "cost") is None
    gate.open.set()
    until(lambda: text.over)
    assert worker.last("visitor", "cost") is cost  # finished, and still found


def test_a_second_view_is_told_of_the_first_and_may_take_its_place(gate: Gate) -> None:
    worker = Worker(gate)
    cost = worker.join("visitor", "cost", Numbered(1))
    until(lambda: cost.started is not None)
    assert worker.busy("visitor", besides="text") == "cost"
    assert worker.busy("visitor", besides="cost") is None
    assert worker.busy("another", besides="text") is None
    after = worker.join("visitor", "text", Numbered(2))
    assert worker.place(after) == 1
    instead = worker.join("visitor", "speed", Numbered(3), instead=True)
    until(lambda: cost.over)
    gate.open.set()
    until(lambda: instead.over)
    assert gate.begun == [1, 3]


def test_asking_again_in_the_same_view_replaces_the_earlier_job(gate: Gate) -> None:
    worker = Worker(gate)
    first = worker.join("visitor", "cost", Numbered(1))
    until(lambda: first.started is not None)
    second = worker.join("visitor", "cost", Numbered(2))
    until(lambda: second.started is not None)
    assert first.over
    assert gate.closed == [1]


def test_one_visitor_cannot_fill_the_queue(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LIMITS", replace(queue.LIMITS, waiting_each=2))
    worker = Worker(gate, waiting=10)
    running = worker.join("other", "cost", Numbered(0))
    until(lambda: running.started is not None)
    for number, view in enumerate(("cost", "text"), 1):
        worker.join("greedy", view, Numbered(number))
    with pytest.raises(Refused, match="2 of your runs are waiting"):
        worker.join("greedy", "speed", Numbered(3))
    assert worker.join("modest", "cost", Numbered(4)) is not None


def test_a_job_without_a_page_ends_after_a_while_where_strangers_come(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LIMITS", replace(queue.LIMITS, unwatched_seconds=0.3))
    worker = Worker(gate)
    followed = worker.join("a", "cost", Numbered(1))
    worker.watch(followed)
    until(lambda: followed.started is not None)
    left = worker.join("b", "cost", Numbered(2))
    worker.watch(left)  # a page that follows, and is told what it never reads
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        followed.read_at = time.monotonic()
        time.sleep(0.02)
    assert not followed.over
    assert worker.place(left) == 0
    assert left.over  # it waited without a reader
    until(lambda: followed.over)
    assert gate.begun == [1]


def test_one_address_cannot_fill_the_queue(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LIMITS", replace(queue.LIMITS, waiting_address=3))
    worker = Worker(gate, waiting=10)
    running = worker.join("other", "cost", Numbered(0), address="198.51.100.1")
    until(lambda: running.started is not None)
    for number in range(1, 4):
        worker.join(f"pupil {number}", "cost", Numbered(number), address="203.0.113.7")
    with pytest.raises(Refused, match="3 runs from your address"):
        worker.join("pupil 4", "cost", Numbered(4), address="203.0.113.7")
    shared = worker.join("pupil 5", "cost", Numbered(3), address="203.0.113.7")
    assert shared.owners == {"pupil 3", "pupil 5"}  # the same run takes no further place
    assert worker.join("modest", "cost", Numbered(6), address="198.51.100.1") is not None


@dataclass(frozen=True)
class Sized(Numbered):
    """One that takes so long."""

    seconds: float = 60

    @property
    def gpu_seconds(self) -> float:
        return self.seconds


def test_short_jobs_pass_long_ones_but_not_for_ever(gate: Gate) -> None:
    worker = Worker(gate)
    running = worker.join("first", "cost", Sized(0, 1000))
    until(lambda: running.started is not None)
    long = worker.join("long", "cost", Sized(1, 240))
    short = [worker.join(f"short {number}", "text", Sized(10 + number, 60)) for number in range(4)]
    assert [worker.place(task) for task in short[:3]] == [1, 2, 3]
    assert worker.place(long) == 4
    assert worker.place(short[3]) == 5  # it was passed often enough
    middle = worker.join("middle", "text", Sized(20, 150))
    assert worker.place(middle) == 6  # not so much shorter
    own = worker.join("long", "text", Sized(21, 60))
    assert worker.place(own) == 6  # before `middle`, after one's own
    gate.open.set()
    until(lambda: middle.over)
    assert gate.begun == [0, 10, 11, 12, 1, 13, 21, 20]


def test_a_failure_reaches_the_page_and_the_queue_goes_on() -> None:
    def work(job: Job) -> Iterator[Event]:
        assert isinstance(job, Numbered)
        if job.number == 1:
            yield Failure("lower {samples}")
        elif job.number == 2:
            raise ConnectionError("the GPU was taken away")
        else:
            yield "found"

    worker = Worker(work)
    failed, broken, fine = (worker.join(f"visitor {n}", "cost", Numbered(n)) for n in (1, 2, 3))
    until(lambda: fine.over)
    assert failed.failure == "lower {samples}"
    assert broken.failure == "the run broke off: the GPU was taken away"
    assert (fine.failure, fine.outcome) == (None, "found")
