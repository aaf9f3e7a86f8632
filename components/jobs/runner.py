"""Heavy work, one thing at a time; the same code beside the page and in ZeroGPU's forked process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from importlib import import_module
from queue import Empty, SimpleQueue
from time import monotonic

from components.cache import News, note_news
from components.jobs.job import Event, Failure, Job, Progress, Put
from components.limits import LIMITS
from wanda_core.errors import Refused, Stopped

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")
ZERO_GPU_SECONDS = 80
"""What a job may book: an anonymous visitor has 120 s a day, and the present GPUs are booked at 1.5 times the time."""
SECONDS_BETWEEN_EVENTS = 0.1
"""Progress that comes sooner after the last event is not passed on: nobody sees it."""
ZERO_GPU_MARGIN = 5
"""Of what is booked, seconds in which a job that took too long ends itself, before it is ended."""
HEARTBEAT = 0.5
"""Seconds without news after which a job's last progress is told again, so that whoever follows can stop it."""
PATIENCE = 20
"""Seconds that stopped work has to end; a library that does not return is left behind."""

_heavy = threading.Lock()
"""Held by whoever computes: pruning and evaluation point the shared model at other weights for a while."""
_importing = threading.Lock()


def _renew_locks() -> None:
    global _heavy, _importing
    _heavy, _importing = threading.Lock(), threading.Lock()


# On ZeroGPU a job's process may be forked while a thread of the page holds one, which nobody there would release.
os.register_at_fork(after_in_child=_renew_locks)


def import_engine() -> None:
    """Import what takes seconds, once: the first screen does without, and two threads that import transformers at the
    same time get half of it."""
    with _importing:
        for module in ("experiments.sweep", "generation.side_by_side", "inspection.layer_summary"):
            import_module(f"wanda_core.{module}")


def give_way() -> None:
    """Compute with what the page's own thread leaves: with all cores taken by its equals, that thread would wait for a
    core longer than it then needs. Threads that this one starts, torch's among them, inherit it."""
    if sys.platform == "linux":  # elsewhere a priority is of the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


def carry_out(job: Job) -> Iterator[Event]:
    """Do a job: fetch what comes from elsewhere, which holds up nobody else, then compute alone on the machine.

    Closing the generator stops the work at the next layer and leaves the models as they were.
    """
    for event in _events(lambda put, stop: job.fetch(put), LIMITS.fetch_seconds):
        yield event
        if isinstance(event, Failure):
            return
    with closing(compute(job)) as events:
        for event in events:
            if isinstance(event, News):
                event.keep()
            else:
                yield event


def compute(job: Job) -> Generator[Event, None, None]:
    """The part of a job that needs the machine alone."""

    def work(put: Put, stop: threading.Event) -> None:
        while not _heavy.acquire(timeout=HEARTBEAT):
            if stop.is_set():
                raise Stopped
            put(Progress("Waiting for earlier work to end", 0.0))
        try:
            job.compute(put, stop)
        finally:
            _heavy.release()

    # A generator function: by that `spaces` tells that events are to be sent one by one.
    seconds = booked_seconds(job) - ZERO_GPU_MARGIN if ZERO_GPU else LIMITS.seconds
    yield from _events(work, seconds, job.overdue)


def booked_seconds(job: Job) -> float:
    """What a job books on ZeroGPU, and ends itself before."""
    return min(ZERO_GPU_SECONDS, job.gpu_seconds)


def _events(
    work: Callable[[Put, threading.Event], None], seconds: float, overdue: str = Job.overdue
) -> Iterator[Event]:
    """Let work run in a thread of its own, for so long at most, and pass on what it reports."""
    events: SimpleQueue[Event | None] = SimpleQueue()
    stop = threading.Event()

    def run() -> None:
        give_way()
        try:
            import_engine()
            work(events.put, stop)
        except Refused as error:
            events.put(Failure(error.text))
        except Stopped:
            pass
        except BaseException as error:  # a library in Rust panics with what is no `Exception`
            from wanda_core.machine import is_out_of_memory

            if not is_out_of_memory(error):
                events.put(Failure(f"internal error ({type(error).__name__}): please report it"))
                raise
            events.put(Failure("out of memory: choose a smaller model, fewer windows or a smaller window"))
        finally:
            from wanda_core.machine import give_back

            give_back()  # else a server that has served many holds hundreds of megabytes of what it freed
            events.put(None)

    thread = threading.Thread(target=run, name="work", daemon=True)
    began = monotonic()
    thread.start()
    latest, told = Progress("Starting", 0.0), 0.0
    try:
        while True:
            if monotonic() - began > seconds:
                yield Failure(f"longer than the {seconds:.0f} s that this may take here: {overdue}")
                return
            try:
                event = events.get(timeout=HEARTBEAT)
            except Empty:
                event, told = latest, 0.0  # once more: whoever waits for an event cannot close the generator
            if event is None:
                return
            if isinstance(event, Progress):
                latest = event
                if monotonic() - told < SECONDS_BETWEEN_EVENTS:
                    continue
            told = monotonic()
            yield event
    finally:
        stop.set()
        thread.join(PATIENCE)


if ZERO_GPU:
    import spaces

    compute_here = compute

    @spaces.GPU(duration=booked_seconds)
    def compute(job: Job) -> Generator[Event, None, None]:
        """In a process of its own: what it keeps for reuse would end with it, so that is sent, too."""
        news = note_news()
        for event in compute_here(job):
            while news:  # first: whoever is shown a point finds it measured
                yield news.pop(0)
            yield event
