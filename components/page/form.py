"""Named controls: what they hold travels by name, into jobs as into links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Control:
    """One control of a view."""

    component: gr.components.Component
    parse: Callable[[str], Any] | None = None
    """Reads its words in a link; raises `ValueError` where they are not its own. None: it is never in a link."""


@dataclass
class Form:
    """The controls of a view, by the names that settings have from the page to the engine."""

    controls: dict[str, Control] = field(default_factory=dict)

    def add(
        self, name: str, component: gr.components.Component, parse: Callable[[str], Any] | None = None
    ) -> Any:
        """Add a control; returns the component."""
        self.controls[name] = Control(component, parse)
        return component

    def __getitem__(self, name: str) -> Any:
        return self.controls[name].component

    @property
    def components(self) -> dict[str, Any]:
        """By name; `Any`, as gradio gives every kind of component its events only when it runs."""
        return {name: control.component for name, control in self.controls.items()}
