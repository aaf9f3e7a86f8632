"""Checks of single arguments, each in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wanda_core.errors import Refused

if TYPE_CHECKING:
    pass


def check_whole(what: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Refused(f"{what} must be a whole number, {least} or more")
