"""Work of a product split over threads of our own: waking one takes 20 microseconds, numba's pool 60.

Kernels hold no lock of Python's. They are not torch's threads, which spin for a while after each of its products and
are not to be had; ours sleep, so that the two do not fight for the cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import torch

_pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="wanda-kernel")


def _begin_anew() -> None:
    global _pool
    _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="wanda-kernel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)  # a child process has the pool without its threads


PIECES = 4
"""Parts for each thread: one that the system lets wait leaves its parts to the others."""

LEAST = 4
"""Of what is counted, in a part: each has its inputs to arrange for itself."""


def in_parts(work: Callable[[int, int], object], count: int, most: int) -> None:
    """Call `work(first, last)` for parts of 0 to `count`, by at most `most` threads, and as many as torch may use.

    Each takes the next part when it is done with one. Helpers that have not begun when none is left are not waited
    for, so callers do not wait for each other.
    """
    threads = max(1, min(torch.get_num_threads(), count, most))
    if threads == 1:
        work(0, count)
        return
    parts = max(threads, min(PIECES * threads, count // LEAST))
    turns = iter(range(parts))

    def take_turns() -> None:
        for part in turns:
            work(count * part // parts, count * (part + 1) // parts)

    helpers: list[Future[None]] = []
    with suppress(RuntimeError):  # while the interpreter ends it starts none: the caller takes all turns
        helpers += [_pool.submit(take_turns) for _ in range(threads - 1)]
    try:
        take_turns()
    finally:
        for helper in helpers:
            if not helper.cancel():
                helper.result()
