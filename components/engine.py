"""Heavy work, one thing at a time; the same code beside the page and in ZeroGPU's forked process."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from components.settings import LIMITS
from wanda_core.errors import Refused, Stopped

ZERO_GPU = bool(os.environ.get("SPACES_ZERO_GPU"))
ZERO_GPU_SECONDS = 120
"""What an anonymous visitor has in a day."""
SECONDS_BETWEEN_EVENTS = 0.1
"""Progress that comes sooner after the last event is not passed on: nobody sees it."""
HEARTBEAT = 0.5
"""Seconds without news after which a job's last progress is told again, so that whoever follows can stop it."""


@dataclass
class Progress:
    """Where the work is."""

    doing: str
    share: float
    """Of the whole job, 0 to 1; a rough guide, as not all its parts take equally long."""


@dataclass
class Failure:
    """Why the job as a whole ended early."""

    message: str


Event = Progress | Failure | Any
"""Anything else is what the job has found so far, whole: the last one counts."""
Put = Callable[[Event], None]


class Job(ABC):
    """Heavy work that a visitor asks for: a frozen dataclass of plain values that were checked. Equal jobs are computed
    once, and a job can be sent to another process."""

    @property
    def gpu_seconds(self) -> float:
        """Time to book on ZeroGPU."""
        return 60

    @abstractmethod
    def compute(self, put: Put, stop: threading.Event) -> None:
        """Do the work, alone on the machine.

        Args:
            put: takes events, at least one for each layer or token.
            stop: once it is set, end soon with `Stopped`.
        """


_heavy = threading.Lock()
"""Held by whoever computes: pruning and evaluation point the shared model at other weights for a while."""


_importing = threading.Lock()


def import_engine() -> None:
    """Import what takes seconds, once: the first screen does without, and two threads that import transformers at the
    same time get half of it."""
    with _importing:
        for module in ("experiments", "generation", "overview", "sweep"):
            import_module(f"wanda_core.{module}")


def carry_out(job: Job) -> Iterator[Event]:
    """Do a job. Closing the generator stops the work at the next layer and leaves the models as they were."""
    events: SimpleQueue[Event | None] = SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        try:
            with _heavy:
                began = monotonic()

                def put(event: Event) -> None:
                    # Every job tells of its progress at least once for each layer, window or token.
                    if isinstance(event, Progress) and monotonic() - began > LIMITS.seconds:
                        raise Refused(
                            f"longer than the {LIMITS.seconds:.0f} s a run may take here: ask for less"
                        )
                    events.put(event)

                import_engine()
                job.compute(put, stop)
        except Refused as error:
            events.put(Failure(str(error)))
        except Stopped:
            pass
        except Exception as error:
            from wanda_core.memory import is_out_of_memory

            if not is_out_of_memory(error):
                events.put(Failure(f"this should not happen ({type(error).__name__}): please report it"))
                raise
            events.put(Failure("out of memory: take a smaller model, fewer windows or a smaller window"))
        finally:
            from wanda_core.memory import give_back

            give_back()  # else a server that has served many holds hundreds of megabytes of what it freed
            events.put(None)

    thread = threading.Thread(target=work, name="work")
    thread.start()
    latest, told = Progress("Starting", 0.0), 0.0
    try:
        while True:
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
        thread.join()


if ZERO_GPU:
    import spaces

    carry_out = spaces.GPU(duration=lambda job: min(ZERO_GPU_SECONDS, job.gpu_seconds))(carry_out)
