"""Work that hangs is left behind."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from wanda_core import Refused, Stopped
from wanda_core.deadline import within


def test_what_is_done_in_time_comes_back() -> None:
    assert within(30, "adding", lambda: 1 + 1) == 2
    with pytest.raises(KeyError):
        within(30, "looking", lambda: {}["a"])


def test_what_hangs_is_refused_or_stopped() -> None:
    never = threading.Event()
    start = monotonic()
    with pytest.raises(Refused, match="waiting takes longer than 0 s"):
        within(0.2, "waiting", never.wait)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Stopped):
        within(60, "waiting", never.wait, stop)
    assert monotonic() - start < 30
    never.set()
