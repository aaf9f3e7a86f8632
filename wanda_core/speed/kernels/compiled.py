"""numba's compiler, with what it keeps on the disk where it can: else kernels are compiled in each process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

STAMP = tuple(
    (file.name, file.stat().st_mtime, file.stat().st_size)
    for file in sorted(Path(__file__).parent.glob("*.py"))
)
"""What tells one state of this folder's modules from another."""


def njit(**how: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit(nogil=True, cache=True)`, also where neither this package's folder nor the user's can be written to,
    and where what was kept is damaged or the disk is full. Where numba is disabled, the function as it is."""

    def decorate(function: Callable[..., Any]) -> Any:
        if numba.config.DISABLE_JIT:
            return function
        try:
            kernel = numba.njit(nogil=True, cache=True, **how)(function)
        except RuntimeError:  # no folder for it
            return numba.njit(nogil=True, **how)(function)
        # Kernels are written by the other modules here: what was kept is of no use once one of them has changed.
        kernel._cache._cache_file._source_stamp = STAMP
        _forgive(kernel._cache)
        return kernel

    return decorate


def _forgive(cache: Any) -> None:
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # pickled, and may be anything
            return None

    def save_overload(*arguments: Any) -> None:
        try:
            save(*arguments)
        except Exception:
            try:
                cache.flush()  # a damaged index: begun anew by the next process
            except OSError:
                return

    cache.load_overload, cache.save_overload = load_overload, save_overload
