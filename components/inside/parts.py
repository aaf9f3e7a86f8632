"""What the view shows, by name: of the same shape for its components and for what is put into them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr


@dataclass
class Parts:
    """Components where the view is laid out; values where it is drawn, of which None leaves a part as it is."""

    shown: Any = None
    """`Shown`: what the session looks at."""
    focus: Any = None
    """The point in focus, of the whole page."""
    arrived: Any = None
    """Name of an inspection that was found for a page that was loaded anew."""
    title: Any = None
    map: Any = None
    map_note: Any = None
    layer: Any = None
    weight: Any = None
    compare: Any = None
    as_pruned: Any = None
    preview: Any = None
    preview_pattern: Any = None
    preview_group: Any = None
    body: Any = None
    """Everything below the title; hidden while nothing was inspected."""
    label: Any = None
    left: Any = None
    """The pictures of the layer, left, right and below; hidden where there are none."""
    right: Any = None
    below: Any = None
    arithmetic: Any = None
    plane: Any = None
    window: Any = None
    zeros: Any = None
    histogram: Any = None
    density: Any = None
    inputs: Any = None
    rows: Any = None

    def listed(self) -> list[Any]:
        """In the order of the fields."""
        return [getattr(self, each.name) for each in fields(self)]

    def values(self) -> list[Any]:
        """As a handler returns them."""
        return [gr.skip() if value is None else value for value in self.listed()]

    def __or__(self, other: Parts) -> Parts:
        """The parts of both; the other's where both have one."""
        both = zip(fields(self), self.listed(), other.listed(), strict=True)
        return Parts(**{each.name: one if two is None else two for each, one, two in both})
