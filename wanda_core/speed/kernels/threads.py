"""Work of a product split over threads of our own: waking one takes 20 microseconds, numba's pool 60.

Kernels hold no lock of Python's. They are not torch's threads, which spin for a while after each of its products and
are not to be had; ours sleep, so that the two do not fight for the cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="wanda-kernel")


def _begin_anew() -> None:
    global _pool
    _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="wanda-kernel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)  # a child process has the pool without its threads


def in_parts(work: Callable[[int, int], object], count: int, most: int) -> None:
    """Call `work(first, last)` for parts of 0 to `count`, at once: `most` of them, or as many as torch may use threads.

    What no other thread has begun when this one is done with its own part, it does itself: callers do not wait for
    each other.
    """
    parts = max(1, min(torch.get_num_threads(), count, most))
    bounds = [(count * part // parts, count * (part + 1) // parts) for part in range(parts)]
    given = [(_pool.submit(work, *bound), bound) for bound in bounds[1:]]
    try:
        work(*bounds[0])
    finally:
        mine = [bound for future, bound in given if future.cancel()]
    for bound in mine:
        work(*bound)
    for future, _ in given:
        if not future.cancelled():
            future.result()
