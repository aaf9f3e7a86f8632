"""Work that waits for a network: given up at a deadline or a stop, wherever it hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from wanda_core.errors import Refused, check_stop

Result = TypeVar("Result")


def within(
    seconds: float, what: str, work: Callable[[], Result], stop: threading.Event | None = None
) -> Result:
    """Do the work in a thread of its own, and leave that thread behind when it takes too long.

    Args:
        what: for the message: `reading wikitext2`.

    Raises:
        Refused: the deadline has passed.
        Stopped: `stop` was set.
    """
    done = threading.Event()
    result: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)
        done.set()

    threading.Thread(target=run, name=what, daemon=True).start()
    end = monotonic() + seconds
    while not done.wait(min(0.1, max(0.0, end - monotonic()))):
        check_stop(stop)
        if monotonic() >= end:
            raise Refused(f"{what} takes longer than {seconds:.0f} s: try again later, or choose another")
    if failure:
        raise failure[0]
    return result[0]
