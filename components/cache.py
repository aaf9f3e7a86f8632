"""What is kept between requests: bounded in bytes, oldest use out first, forgotten after a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Store(Generic[Value]):
    """A cache that several threads may use.

    Args:
        cap: bytes kept at most; a value larger than that alone is not kept.
        seconds: a value not used for so long is dropped.
        clock: seconds, for tests.
    """

    def __init__(self, cap: int, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._cap = cap
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Value, int, float]] = OrderedDict()

    @property
    def bytes(self) -> int:
        with self._lock:
            return sum(size for _, size, _ in self._kept.values())

    def keys(self) -> list[Hashable]:
        with self._lock:
            return list(self._kept)

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            self._expire()
            if key not in self._kept:
                return None
            value, size, _ = self._kept.pop(key)
            self._kept[key] = (value, size, self._clock())
            return value

    def put(self, key: Hashable, value: Value, size: int) -> None:
        with self._lock:
            self._kept.pop(key, None)
            self._expire()
            if size > self._cap:
                return
            self._kept[key] = (value, size, self._clock())
            while sum(size for _, size, _ in self._kept.values()) > self._cap:
                self._kept.popitem(last=False)

    def _expire(self) -> None:
        """Drop from the front, where the least recently used are."""
        while self._kept:
            key, (_, _, used) = next(iter(self._kept.items()))
            if self._clock() - used <= self._seconds:
                return
            del self._kept[key]
