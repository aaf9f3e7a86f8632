"""Checks of single arguments, each in one place."""

from __future__ import annotations

from wanda_core.errors import Refused


def check_whole(what: str, value: object, least: int) -> None:
    """
    Args:
        what: the value's name in the message, a setting in braces as in `Refused`.

    Raises:
        Refused: not a whole number, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Refused(f"{what} must be a whole number, {least} or more")
