"""Settings of a small run, and waiting."""

from __future__ import annotations

import time
from collections.abc import Callable

PAGE = ("stories", "stories", "", ["magnitude", "wanda"], 50, "unstructured", 4, 64, 4, "layer", 0)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)
