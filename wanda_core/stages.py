"""Places for what is not finished yet, told apart from those that a killed process left: a lock ends with its process,
whatever ended it. Where there are no such locks (Windows, some network drives) nothing is taken for left behind."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ENDING = ".partial"
SHOWN = 40
"""Letters of a name that its stage has: with the rest, it may be as long as the file system takes."""


@contextmanager
def staged(target: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """A place of this process's own beside `target`, which is gone afterwards unless it was moved. Those of killed
    processes are cleared.

    Args:
        make: creates it.
    """
    begin = f".{target.name[:SHOWN]}."
    clear(target.parent, begin)
    stage, lock = _own(lambda: target.with_name(f"{begin}{secrets.token_hex(8)}{ENDING}"), make)
    try:
        yield stage
    finally:
        _remove(stage)
        if lock is not None:
            os.close(lock)


def own_folder(parent: Path) -> Path:
    """A new folder that is this process's as long as it lives; those of dead ones are cleared."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    clear(parent, "")
    return _own(lambda: parent / f"{secrets.token_hex(8)}{ENDING}", Path.mkdir)[0]


def clear(folder: Path, begin: str) -> None:
    """Delete what killed processes left in a folder under names that begin so."""
    left: list[Path] = []
    with suppress(OSError):
        left = [
            entry for entry in folder.iterdir() if entry.name.startswith(begin) and entry.suffix == ENDING
        ]
    for stage in left:
        lock = _lock(stage, wait=False)
        if lock is not None:
            _remove(stage)
            os.close(lock)


def _own(name: Callable[[], Path], make: Callable[[Path], object]) -> tuple[Path, int | None]:
    while True:
        stage = name()
        make(stage)
        lock = _lock(stage, wait=True)
        if stage.exists():  # else another process cleared it before it was locked
            return stage, lock
        if lock is not None:
            os.close(lock)


def _lock(stage: Path, *, wait: bool) -> int | None:
    """A descriptor that holds the place's lock; None where another process does, or where there are no locks."""
    try:
        import fcntl

        held = os.open(stage, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(held)
        return None
    return held


def _remove(stage: Path) -> None:
    if stage.is_dir() and not stage.is_symlink():
        shutil.rmtree(stage, ignore_errors=True)
    else:
        with suppress(OSError):
            stage.unlink(missing_ok=True)
