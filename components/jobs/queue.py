"""One thing at a time: the queue of runs. Visitors who ask for the same run share it."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from components.jobs.job import Event, Failure, Job, Progress
from components.jobs.runner import carry_out
from components.limits import LIMITS
from wanda_core.errors import Refused


@dataclass(eq=False)
class Task:
    """A run that is waiting, going on or over. Read by the page, written by the worker alone."""

    job: Job
    context: contextvars.Context
    """Of the visitor's request: ZeroGPU books the time on it."""
    visitors: set[str] = field(default_factory=set)
    progress: Progress | None = None
    outcome: Any = None
    """What the job has found so far."""
    failure: str | None = None
    started: float | None = None
    over: bool = False

    def seconds_left(self) -> float | None:
        """A rough guess from the share that is done; None while there is too little to go on."""
        if self.started is None or self.progress is None or self.progress.share < 0.05:
            return None
        spent = monotonic() - self.started
        return spent * (1 - self.progress.share) / self.progress.share


class Worker:
    """Runs tasks one after the other in a thread of its own.

    Args:
        work: turns a job into events; closed to stop it.
    """

    def __init__(
        self, work: Callable[[Job], Iterator[Event]] = carry_out, waiting: int = LIMITS.waiting
    ) -> None:
        self._work = work
        self._most = waiting
        self._queue: deque[Task] = deque()
        self._current: Task | None = None
        self._change = threading.Condition()
        threading.Thread(target=self._run, name="worker", daemon=True).start()

    def join(self, visitor: str, job: Job) -> Task:
        """Ask for a run on a visitor's behalf; any earlier run of theirs is left.

        Raises:
            Refused: too many runs wait already.
        """
        with self._change:
            self._leave(visitor)
            same = [
                task for task in (*self._queue, self._current) if task and task.job == job and task.visitors
            ]
            if same:
                task = same[0]
            elif len(self._queue) >= self._most:
                raise Refused(f"{self._most} runs are waiting already: try again in a few minutes")
            else:
                task = Task(job, contextvars.copy_context())
                self._queue.append(task)
            task.visitors.add(visitor)
            self._change.notify_all()
            return task

    def leave(self, visitor: str | None, task: Task | None = None) -> None:
        """The visitor no longer wants this run, or any; one that nobody wants any more is stopped."""
        with self._change:
            if visitor and task is not None:  # a later job of theirs goes on
                task.visitors.discard(visitor)
                self._queue = deque(each for each in self._queue if each.visitors)
            elif visitor:
                self._leave(visitor)

    def place(self, task: Task) -> int:
        """How many runs come before this one."""
        with self._change:
            return self._queue.index(task) + (self._current is not None) if task in self._queue else 0

    def _leave(self, visitor: str) -> None:
        for task in (*self._queue, self._current):
            if task is not None:
                task.visitors.discard(visitor)
        self._queue = deque(task for task in self._queue if task.visitors)

    def _run(self) -> None:
        while True:
            with self._change:
                self._current = None
                self._change.wait_for(lambda: self._queue)
                task = self._current = self._queue.popleft()
            task.context.run(self._carry_out, task)
            task.over = True

    def _carry_out(self, task: Task) -> None:
        task.started = monotonic()
        events = self._work(task.job)
        try:
            for event in events:
                if not task.visitors:
                    break
                if isinstance(event, Progress):
                    task.progress = event
                elif isinstance(event, Failure):
                    task.failure = event.message
                else:
                    task.outcome = event
        except Exception as error:  # a GPU that was not granted or taken away; the queue goes on
            task.failure = f"the run broke off: {str(error)[:200] or type(error).__name__}"
        finally:
            events.close()
