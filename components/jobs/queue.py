"""One thing at a time: the queue of jobs. Visitors who ask for the same job share it, and find it again."""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from components.jobs.job import Event, Failure, Job, Progress
from components.jobs.runner import ZERO_GPU, carry_out
from components.limits import LIMITS
from wanda_core.errors import Refused

MOST_REMEMBERED = 200
"""Owners whose last tasks are remembered, so that a reloaded page finds them."""
SHORTER = 2
"""A job passes those that wait before it and take so many times as long."""
PASSED = 3
"""Times that a waiting job may be passed, so that short ones do not keep a long one waiting for ever."""


@dataclass(eq=False)
class Task:
    """A job that is waiting, running or over. Read by the page, written by the worker alone."""

    job: Job
    context: contextvars.Context
    """Of the visitor's request: ZeroGPU books the time on it."""
    owners: set[str] = field(default_factory=set)
    address: str = ""
    """Where it was asked from."""
    watchers: int = 0
    """Pages that follow it."""
    read_at: float = field(default_factory=monotonic)
    """When one of them last read what it was told."""
    passed: int = 0
    """Jobs that came later and were put before it."""
    progress: Progress | None = None
    outcome: Any = None
    """What the job has found so far."""
    failure: str | None = None
    started: float | None = None
    ended: float | None = None
    drawn: tuple[Any, Any, Any] | None = None
    """An outcome, settings, and what shows it by them: the page's own, so that it draws once for all who follow."""

    @property
    def over(self) -> bool:
        return self.ended is not None

    @property
    def wanted(self) -> bool:
        """Somebody owns it and, on a public server, reads of it or did so a moment ago."""
        patient = LIMITS.unwatched_seconds
        return bool(self.owners) and (patient is None or monotonic() - self.read_at < patient)

    def seconds_left(self) -> float | None:
        """A rough guess from the share that is done; None while there is too little to go on."""
        if self.started is None or self.progress is None or self.progress.share < 0.05:
            return None
        spent = monotonic() - self.started
        return spent * (1 - self.progress.share) / self.progress.share


class Worker:
    """Runs tasks one after the other in a thread of its own; on ZeroGPU a few at once.

    Args:
        work: turns a job into events; closed to stop it.
        waiting: tasks that may wait.
        at_once: tasks that run side by side: on ZeroGPU each has a process and a GPU of its own.
    """

    def __init__(
        self,
        work: Callable[[Job], Iterator[Event]] = carry_out,
        waiting: int = LIMITS.waiting,
        at_once: int = 4 if ZERO_GPU else 1,
    ) -> None:
        self._work = work
        self._most = waiting
        self._queue: deque[Task] = deque()
        self._current: list[Task] = []
        self._last: OrderedDict[str, dict[str, Task]] = OrderedDict()
        """By owner, the last task of each view."""
        self._change = threading.Condition()
        for _ in range(at_once):
            threading.Thread(target=self._run, name="worker", daemon=True).start()

    def join(self, owner: str, view: str, job: Job, *, address: str = "", instead: bool = False) -> Task:
        """Ask for a job on an owner's behalf; their earlier job of that view is left.

        Args:
            view: key of the view that asks.
            address: where the owner asks from.
            instead: leave the owner's jobs of other views, too; else this one waits for its turn.

        Raises:
            Refused: too many jobs wait already, of this owner, from this address, or of all.
        """
        with self._change:
            self._leave(owner, None if instead else view)
            self._purge()
            waiting = [task for task in self._queue if owner in task.owners]
            same = [task for task in (*self._current, *self._queue) if task.job == job and task.wanted]
            if same and not same[0].over:
                task = same[0]
            elif len(waiting) >= LIMITS.waiting_each:
                raise Refused(f"{len(waiting)} of your runs are waiting already: wait for one, or stop it")
            elif sum(task.address == address for task in self._queue) >= LIMITS.waiting_address:
                raise Refused(
                    f"{LIMITS.waiting_address} runs from your address are waiting already: try again in a few minutes"
                )
            elif len(self._queue) >= self._most:
                raise Refused(f"{self._most} runs are waiting already: try again in a few minutes")
            else:
                task = Task(job, contextvars.copy_context(), {owner}, address)
                self._put_in(task)
            task.owners.add(owner)
            self._last.setdefault(owner, {})[view] = task
            self._last.move_to_end(owner)
            while len(self._last) > MOST_REMEMBERED:
                self._last.popitem(last=False)
            self._change.notify_all()
            return task

    def last(self, owner: str, view: str) -> Task | None:
        """The owner's last task of a view, over or not."""
        with self._change:
            return self._last.get(owner, {}).get(view)

    def busy(self, owner: str, besides: str) -> str | None:
        """The view, other than `besides`, in which a task of the owner waits or runs."""
        with self._change:
            for view, task in self._last.get(owner, {}).items():
                if view != besides and owner in task.owners and not task.over:
                    return view
        return None

    def leave(self, owner: str, view: str | None = None) -> None:
        """The owner no longer wants a view's task, or any; one that nobody wants is stopped."""
        with self._change:
            self._leave(owner, view)
            self._purge()

    def watch(self, task: Task) -> None:
        with self._change:
            task.watchers += 1

    def unwatch(self, task: Task) -> None:
        with self._change:
            task.watchers -= 1
            if not task.watchers:
                task.drawn = None

    def place(self, task: Task) -> int:
        """How many tasks come before this one."""
        with self._change:
            self._purge()
            return self._queue.index(task) + bool(self._current) if task in self._queue else 0

    def _put_in(self, task: Task) -> None:
        """At the end, or before jobs that take much longer: a long run does not keep short ones waiting."""
        at = len(self._queue)
        while at and _lets_pass(self._queue[at - 1], task):
            at -= 1
            self._queue[at].passed += 1
        self._queue.insert(at, task)

    def _leave(self, owner: str, view: str | None) -> None:
        for key, task in self._last.get(owner, {}).items():
            if view is None or key == view:
                task.owners.discard(owner)

    def _purge(self) -> None:
        kept = deque(task for task in self._queue if task.wanted)
        for task in self._queue:
            if task not in kept:
                task.ended = monotonic()
        self._queue = kept

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue)
                task = self._queue.popleft()
                self._current.append(task)
            task.context.run(self._carry_out, task)
            with self._change:
                self._current.remove(task)
                task.ended = monotonic()

    def _carry_out(self, task: Task) -> None:
        task.started = monotonic()
        events = self._work(task.job)
        try:
            for event in events:
                if not task.wanted:
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
            events.close()  # type: ignore[attr-defined]


def _lets_pass(waiting: Task, task: Task) -> bool:
    long = waiting.job.gpu_seconds >= SHORTER * task.job.gpu_seconds
    # Not one's own: "after it" was asked for.
    return long and waiting.passed < PASSED and not waiting.owners & task.owners
