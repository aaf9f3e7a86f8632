"""What is kept between requests: a byte-bounded LRU cache with an idle timeout, shared by all that keep results."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar, cast

from components.limits import LIMITS

Value = TypeVar("Value")


class Store:
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
        self._kept: OrderedDict[Hashable, tuple[object, int, float]] = OrderedDict()
        self._bytes = 0
        # A job's process on ZeroGPU may be forked while another thread holds the lock: nobody there would release it.
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def all_keys(self) -> list[Hashable]:
        with self._lock:
            return list(self._kept)

    def get(self, key: Hashable) -> object | None:
        with self._lock:
            self._expire()
            if key not in self._kept:
                return None
            value, size, _ = self._kept[key]
            self._kept[key] = (value, size, self._clock())
            self._kept.move_to_end(key)
            return value

    def put(self, key: Hashable, value: object, size: int) -> None:
        with self._lock:
            self._drop(key)
            self._expire()
            if size > self._cap:
                return
            self._kept[key] = (value, size, self._clock())
            self._bytes += size
            while self._bytes > self._cap:
                self._drop(next(iter(self._kept)))

    def drop(self, key: Hashable) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key in self._kept:
            self._bytes -= self._kept.pop(key)[1]

    def _expire(self) -> None:
        oldest = self._clock() - self._seconds
        for key in [key for key, (_, _, used) in self._kept.items() if used < oldest]:
            self._drop(key)


@dataclass(frozen=True)
class News:
    """What was put on a shelf in another process, to be put there in this one, too."""

    key: Hashable
    value: object
    size: int

    def keep(self) -> None:
        RESULTS.put(self.key, self.value, self.size)


_news: list[News] | None = None
"""Where a process that will end notes what others should keep."""


def note_news() -> list[News]:
    """A list that from now on gets what is put on shelves that are told of."""
    global _news
    _news = []
    return _news


class Shelf(Generic[Value]):
    """The part of a store that holds one kind of value, under keys of its own.

    Args:
        told: what a job's own process puts on it reaches the page's process: for plain values alone.
    """

    def __init__(self, name: str, store: Store | None = None, told: bool = False) -> None:
        self._name = name
        self._store = store if store is not None else RESULTS
        self._told = told

    def get(self, key: Hashable) -> Value | None:
        return cast("Value | None", self._store.get((self._name, key)))

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a value of `size` bytes, in place of the key's earlier one."""
        self._store.put((self._name, key), value, size)
        if self._told and _news is not None:
            _news.append(News((self._name, key), value, size))

    def drop(self, key: Hashable) -> None:
        self._store.drop((self._name, key))

    def held(self) -> list[Any]:
        """The keys of this shelf."""
        found = self._store.all_keys()
        return [key[1] for key in found if isinstance(key, tuple) and key[0] == self._name]


RESULTS = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""Everything that was computed: one cap for all of it together."""
