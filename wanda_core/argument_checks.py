"""Checks of single arguments, each in one place."""

from __future__ import annotations

import os
from pathlib import Path

from wanda_core.errors import Refused

LONGEST = 255
"""Bytes of a name in any usual file system."""


def check_whole(what: str, value: object, least: int) -> None:
    """
    Args:
        what: the value's name in the message, a setting in braces as in `Refused`.

    Raises:
        Refused: not a whole number, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Refused(f"{what} must be a whole number, {least} or more")


def check_name(file: Path) -> None:
    """Refuse a name that no file can have."""
    try:
        file.is_dir()
    except OSError as error:
        raise Refused(f"{str(file)[:80]} cannot be used: {error.strerror}") from error
    if "\0" in str(file) or any(len(os.fsencode(part)) > LONGEST for part in file.parts):
        raise Refused(f"{str(file)[:80]!r} cannot be the name of a file: give another")
