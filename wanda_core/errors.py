"""The two ways a piece of work ends early: it cannot be done, or somebody stopped it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from importlib import import_module

SETTINGS = (
    ("wanda_core.method.recipe", "Recipe"),
    ("wanda_core.experiments.experiment", "ExperimentSettings"),
)
"""The dataclasses whose fields messages may name, by module; imported when a message is first told."""


class Refused(ValueError):
    """What was asked for cannot be done. The message is one line and says what to do instead.

    Args:
        text: may name settings in braces, as in `lower {samples}`: each front end calls them its own way, see `told`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.told(lambda setting: setting)

    def told(self, name: Callable[[str], str]) -> str:
        """The message with every setting named by `name`. Other braces, of a visitor's text say, stay as they are."""
        return re.sub(
            r"\{(\w+)\}", lambda found: name(found[1]) if found[1] in _settings() else found[0], self.text
        )


@cache
def _settings() -> frozenset[str]:
    kinds = [getattr(import_module(module), kind) for module, kind in SETTINGS]
    return frozenset(field.name for kind in kinds for field in fields(kind))


class Stopped(Exception):
    """The caller's stop event was set. The model is as it was before."""


def check_stop(stop: threading.Event | None) -> None:
    """
    Raises:
        Stopped: `stop` is set.
    """
    if stop is not None and stop.is_set():
        raise Stopped
