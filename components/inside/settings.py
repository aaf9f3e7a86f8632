"""What the view's controls ask for, checked on the server, and how a link says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.display.names import offered
from components.inside.job import other_recipe
from components.inside.report import QUANTITIES
from components.request_checks import finite
from components.workspace.beside import usual_other
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS
from wanda_core.method.pattern import Pattern
from wanda_core.method.recipe import Recipe

OFFERED = offered(METHODS)
"""What a point can be compared with: the methods that have a name."""
PATTERNS = ("unstructured", "2:4", "4:8")
GROUPS = {"own": "each method's own", "output": "output row", "layer": "whole layer", "input": "input column"}
WEIGHT = re.compile(r"\s*(\d{1,7})\s*,\s*(\d{1,7})\s*")


def parse_weight(words: str) -> str:
    """`row,column`, as a link has it.

    Raises:
        ValueError: anything else.
    """
    found = WEIGHT.fullmatch(words)
    if not found:
        raise ValueError
    return f"{int(found[1])},{int(found[2])}"


def parse_pattern(words: str) -> str:
    """As a link has it.

    Raises:
        ValueError: not `unstructured` or N:M.
    """
    try:
        return str(Pattern.parse(words))
    except Refused:
        raise ValueError from None


@dataclass(frozen=True)
class Asked:
    """What the controls ask for; its fields are named as they are."""

    layer: str
    """Empty: none was chosen yet."""
    weight: tuple[int, int] | None
    """Row and column; None: none was chosen yet."""
    compare: str
    as_pruned: bool
    """The point in focus as it is, not a preview of other amounts."""
    preview: float
    """Sparsity, 0 to 0.95."""
    preview_pattern: str
    preview_group: str
    map_by: str

    @classmethod
    def of(cls, values: Mapping[str, Any], focus: Recipe) -> Asked:
        """From what the controls hold.

        Raises:
            Refused: a value is wrong; says which.
        """
        layer, weight, compare = (values.get(key) or "" for key in ("layer", "weight", "compare"))
        if not isinstance(layer, str):
            raise Refused("choose a layer from the list")
        place = None
        if weight:
            if not isinstance(weight, str) or not WEIGHT.fullmatch(weight):
                raise Refused("give a weight by its output row and input column, such as 3,17")
            row, column = weight.split(",")
            place = int(row), int(column)
        if not isinstance(compare, str) or (compare and compare not in OFFERED):
            raise Refused("choose a method to compare with from the list")
        group, map_by = values.get("preview_group", "own"), values.get("map_by", "differ")
        if not isinstance(group, str) or group not in GROUPS:
            raise Refused("choose what weights compete within from the list")
        if not isinstance(map_by, str) or map_by not in QUANTITIES:
            raise Refused("choose a colour of the map from the list")
        percent = finite("the preview's sparsity", values.get("preview", 50))
        if not 0 <= percent <= 100:
            raise Refused("the preview's sparsity is between 0 and 95%")
        pattern = str(Pattern.parse(values.get("preview_pattern") or "unstructured"))
        return cls(
            layer=layer,
            weight=place,
            compare=compare if compare and compare != focus.method else usual_other(focus.method),
            as_pruned=values.get("as_pruned", True) is True,
            preview=round(percent / 100, 6),
            preview_pattern=pattern,
            preview_group=group,
            map_by=map_by,
        )

    def recipes(self, focus: Recipe) -> tuple[Recipe, Recipe]:
        """Of the point in focus, or its preview, and of what it is compared with.

        Raises:
            Refused: they do not go together.
        """
        first = focus if self.as_pruned else self._previewed(focus)
        return first, other_recipe(first, self.compare)

    def _previewed(self, focus: Recipe) -> Recipe:
        free = self.preview_pattern == "unstructured"
        return replace(
            focus,
            sparsity=self.preview if free else None,
            pattern=self.preview_pattern,
            group=None if self.preview_group == "own" or not free else self.preview_group,
            allocation="uniform",
            order="none",
        )


def preview_of(focus: Recipe) -> dict[str, Any]:
    """What the preview's controls hold for a point as it is."""
    own = focus.group is None or focus.group == METHODS[focus.method].group
    return {
        "preview": round(100 * (focus.sparsity or 0)),
        "preview_pattern": focus.pattern,
        "preview_group": "own" if own else focus.group,
    }
