"""Where an export is to appear, and that it appears whole."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from wanda_core.errors import Refused
from wanda_core.machine import gigabytes


def check_destination(out: Path, needed: int) -> None:
    """Refuse a folder that cannot be written, before hours of work depend on it. Its parents need not be there.

    Args:
        needed: bytes that will be written.
    """
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise Refused(f"{out} cannot be used: {error.strerror}") from error
    if taken:
        raise Refused(f"{out} exists already: choose a new folder")
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
def appearing_whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name once everything is in it, and vanishes where something fails, and with
    it the parents that were made for it."""
    parent = out.absolute().parent
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=parent))
    except OSError as error:
        raise Refused(f"{parent} cannot be written to: {error.strerror}") from error
    try:
        yield stage
        stage.chmod(0o755)
        stage.replace(out)
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise Refused(f"the disk is full: {out} was not written") from error
        raise Refused(f"{out} was not written: {error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # it holds the export
                folder.rmdir()
