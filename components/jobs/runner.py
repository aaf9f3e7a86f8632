"""Heavy work, one thing at a time; the same code beside the page and in ZeroGPU's forked process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from importlib import import_module
from queue import Empty, SimpleQueue
from time import monotonic

from components.jobs.job import Event, Failure, Job, Progress
from components.limits import LIMITS
from wanda_core.errors import Refused, Stopped

ZERO_GPU = bool(os.environ.get("SPACES_ZERO_GPU"))


ZERO_GPU_SECONDS = 120
"""What an anonymous visitor has in a day."""


SECONDS_BETWEEN_EVENTS = 0.1
"""Progress that comes sooner after the last event is not passed on: nobody sees it."""


HEARTBEAT = 0.5
"""Seconds without news after which a job's last progress is told again, so that whoever follows can stop it."""


_heavy = threading.Lock()
"""Held by whoever computes: pruning and evaluation point the shared model at other weights for a while."""


_importing = threading.Lock()


def import_engine() -> None:
    """Import what takes seconds, once: the first screen does without, and two threads that import transformers at the
    same time get half of it."""
    with _importing:
        for module in ("experiments.sweep", "generation.side_by_side", "inspection.layer_summary"):
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
            events.put(Failure(error.text))
        except Stopped:
            pass
        except Exception as error:
            from wanda_core.machine import is_out_of_memory

            if not is_out_of_memory(error):
                events.put(Failure(f"internal error ({type(error).__name__}): please report it"))
                raise
            events.put(Failure("out of memory: choose a smaller model, fewer windows or a smaller window"))
        finally:
            from wanda_core.machine import give_back

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
