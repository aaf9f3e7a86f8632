"""The two ways a piece of work ends early: it cannot be done, or somebody stopped it."""

from __future__ import annotations

import threading


class Refused(ValueError):
    """What was asked for cannot be done. The message is one line and says what to do instead."""


class Stopped(Exception):
    """The caller's stop event was set. The model is as it was before."""


def check_stop(stop: threading.Event | None) -> None:
    """
    Raises:
        Stopped: `stop` is set.
    """
    if stop is not None and stop.is_set():
        raise Stopped
