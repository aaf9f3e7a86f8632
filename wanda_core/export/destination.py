"""Where an export is to appear, and that it appears whole."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from wanda_core.argument_checks import check_name
from wanda_core.errors import Refused
from wanda_core.machine import gigabytes
from wanda_core.stages import staged

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, no more space for this user, no larger file."""
SAID_FULL = ("No space left", "Disk quota exceeded", "File too large")


def check_destination(out: Path, needed: int, *, folder: bool = True) -> None:
    """Refuse a folder that cannot be written, before hours of work depend on it. Its parents need not be there.

    Args:
        needed: bytes that will be written.
        folder: it is one, which may be there if it is empty; else a file, which may not.
    """
    kind = "folder" if folder else "file"
    check_name(out)
    try:
        if not folder and out.is_dir():
            raise Refused(f"{out} is a folder: give a file")
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise Refused(f"{out} cannot be used: {error.strerror}") from error
    if taken:
        raise Refused(f"{out} exists already: choose a new {kind}")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise Refused(f"{parent} is not a folder: choose another place")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise Refused(f"{parent} cannot be written to: {error.strerror}") from error
    if shutil.disk_usage(parent).free < needed:
        raise Refused(
            f"{out} needs {gigabytes(needed)}, the disk has {gigabytes(shutil.disk_usage(parent).free)} left"
        )


@contextmanager
def appearing_whole(out: Path, files: Sequence[Path] = ()) -> Iterator[Path]:
    """A folder beside `out` that takes its name once everything is in it, and vanishes where something fails, and with
    it the parents that were made for it.

    Args:
        files: not the folder appears, but these of its files, each under its own name, in this order.
    """
    parent = out.absolute().parent
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        with ExitStack() as until_made:
            try:
                parent.mkdir(parents=True, exist_ok=True)
                stage = until_made.enter_context(staged(parent / out.name, lambda stage: stage.mkdir(0o700)))
            except OSError as error:
                raise Refused(f"{parent} cannot be written to: {error.strerror}") from error
            yield stage
            if files:
                _move(stage, files)
            else:
                stage.chmod(0o755)
                stage.replace(out)
    except Exception as error:
        # Also of libraries in Rust, which have errors of their own, or plain ones, for what the system says.
        if getattr(error, "errno", None) in FULL or any(said in str(error) for said in SAID_FULL):
            raise Refused(f"the disk is full: {out} was not written") from error
        if isinstance(error, OSError | SafetensorError):
            raise Refused(f"{out} was not written: {error}") from error
        raise
    finally:
        for folder in made:
            with suppress(OSError):  # it holds the export
                folder.rmdir()


def _move(stage: Path, files: Sequence[Path]) -> None:
    """Let files appear under their names, or none of them."""
    with ExitStack() as unless_all:
        for file in files:
            (stage / file.name).replace(file)
            unless_all.callback(file.unlink)
        unless_all.pop_all()
