"""The point in focus and the methods beside it, where each model has a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

MOST_BESIDE = 2
"""Methods beside the dense model and the point in focus; more cannot be read side by side."""


def usual_other(method: str) -> str:
    """What a method is compared with at first: magnitude, or Wanda where magnitude is in focus."""
    return "wanda" if method == "magnitude" else "magnitude"


def beside_another(focus: object, beside: object) -> list[str] | None:
    """What to choose beside a point that came into focus, where nothing but its own method is chosen; else None."""
    if not isinstance(focus, Focus) or beside != [focus.recipe.method]:
        return None
    return [usual_other(focus.recipe.method)]


def side_by_side(values: Mapping[str, object]) -> tuple[Setup, tuple[Recipe, ...]]:
    """The setup of the point in focus; its recipe, and the same amount by the methods in `beside`.

    Raises:
        Refused: a method is unknown, or there are too many.
    """
    focus, beside = values.get("focus"), values.get("beside", [])
    if not isinstance(focus, Focus):
        raise Refused("choose a point first: click one in Cost")
    if not isinstance(beside, list) or not all(isinstance(m, str) and m in METHODS for m in beside):
        raise Refused("choose the methods from the list")
    others = [method for method in dict.fromkeys(beside) if method != focus.recipe.method]
    if len(others) > MOST_BESIDE:
        raise Refused(f"choose up to {MOST_BESIDE} methods to write beside it ({len(others)} are selected)")
    # A group that one method allows another may not: each has its own.
    recipes = [replace(focus.recipe, method=method, group=None) for method in others]
    return focus.setup, (focus.recipe, *recipes)
