"""A job's two halves: fetching, which can be left behind, and computing, which is alone on the machine."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

import pytest

from components.jobs import runner
from components.jobs.job import Failure, Job, Progress, Put
from components.jobs.runner import carry_out
from wanda_core.errors import Refused


@dataclass(frozen=True)
class Steps(Job):
    """Does what its name says."""

    what: str = "works"

    def fetch(self, put: Put) -> None:
        if self.what == "drips":
            time.sleep(30)
        if self.what == "has no text":
            raise Refused("the text is not there: lower {samples}")

    def compute(self, put: Put, stop: threading.Event) -> None:
        if self.what == "panics":
            raise type("PanicException", (BaseException,), {})("from a library in another language")
        if self.what == "runs out":
            raise MemoryError
        put(Progress("half", 0.5))
        if self.what == "never ends":
            stop.wait(30)
        put("found")


def events(job: Job) -> list[object]:
    return [event for event in carry_out(job) if not isinstance(event, Progress)]


def test_what_is_found_is_passed_on() -> None:
    assert events(Steps()) == ["found"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("has no text", "the text is not there: lower {samples}"),
        ("runs out", "out of memory"),
        ("panics", "internal error (PanicException)"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_every_end_is_told(what: str, said: str) -> None:
    (failure,) = events(Steps(what))
    assert isinstance(failure, Failure)
    assert failure.message.startswith(said)
    assert events(Steps()) == ["found"]  # and the next one works


@pytest.mark.parametrize("what", ["drips", "never ends"])
def test_silent_work_ends_at_its_time_and_blocks_nobody(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LIMITS", replace(runner.LIMITS, seconds=1, fetch_seconds=1))
    monkeypatch.setattr(runner, "PATIENCE", 0.1)
    (failure,) = events(Steps(what))
    assert isinstance(failure, Failure)
    assert "longer than the 1 s" in failure.message
    assert events(Steps()) == ["found"]
