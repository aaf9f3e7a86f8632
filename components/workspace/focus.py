"""The point in focus: the pruning that Inside, Text, Speed and Take away show."""

from __future__ import annotations

from dataclasses import dataclass

from components.display.names import point
from components.workspace.setup import Setup
from wanda_core.method.recipe import Recipe


@dataclass(frozen=True)
class Focus:
    """A pruning, and what it is measured on."""

    setup: Setup
    recipe: Recipe

    @property
    def label(self) -> str:
        """As the chip calls it: `Wanda 50%`."""
        return point(self.recipe.as_dict())

    @property
    def words(self) -> str:
        """As a link names it: `wanda-50`, `wanda-2:4`."""
        recipe = self.recipe
        free = recipe.pattern == "unstructured"
        return (
            f"{recipe.method}-{100 * (recipe.sparsity or 0):g}"
            if free
            else f"{recipe.method}-{recipe.pattern}"
        )
