"""Checks of single values that the page sends, whichever view they are for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wanda_core.errors import Refused
from wanda_core.models.hub_id import is_hub_id


def finite(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise Refused(f"{what} must be a number")
    return value


def check_source(source: object, known: Sequence[str]) -> str:
    """A model on offer or a Hub id. A path of the server is neither, unless its owner offered it at launch."""
    if isinstance(source, str):
        # The engine would take a folder of that name before the Hub.
        hub = is_hub_id(source) and not Path(source).exists()
        if source in known or hub:
            return source
    raise Refused("choose a model from the list, or type a Hub id such as HuggingFaceTB/SmolLM2-135M")


def broken(text: str) -> bool:
    """Whether a text holds half a character, as after a cut through an emoji: it can be neither read nor shown."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def whole(what: str, value: object, least: int, most: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refused(f"{what} must be a whole number between {least} and {most:,}")
    return value
