"""What a view is: a tab of the page that declares its settings, and wires itself to what the views share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gradio as gr

from components.jobs import run_button
from components.jobs.job import Job
from components.jobs.queue import Worker
from components.jobs.run_button import RunButton, Values
from components.jobs.visitor import owner_of
from components.page.form import Form
from components.workspace.beside import beside_another
from components.workspace.setup import Setup


@dataclass
class Page:
    """What the views share."""

    demo: gr.Blocks
    worker: Worker
    sources: Sequence[str]
    """Models on offer beside those of the Hub."""
    visitor: gr.BrowserState
    """The browser's own id: the key to its jobs."""
    panel: Form
    """The controls of the panel, by name."""
    panel_run: RunButton
    """Run of the panel, which measures."""
    focus: gr.State
    """The point in focus: see `components.workspace.focus`."""
    tabs: gr.Tabs
    kept_run: gr.Textbox
    """Takes a finished run as `run_summary.as_json`: the browser keeps it."""
    views: Sequence[View] = ()
    buttons: list[RunButton] = field(default_factory=list)
    """All that were wired."""
    titles: dict[str, str] = field(default_factory=dict)
    """What each view is called, by its key."""

    def on_run(
        self,
        button: RunButton,
        *,
        form: Form,
        outputs: Sequence[gr.components.Component],
        make_job: Callable[[Values], Job],
        update: Callable[[Any, Values], list[Any]],
        more: Mapping[str, gr.components.Component] | None = None,
    ) -> None:
        """Wire a run button: `make_job` gets the values of the view's form, of the panel, the point in `focus`, and
        `more`, all by name."""
        self.buttons.append(button)
        inputs = {
            **self.panel.components,
            **form.components,
            "focus": self.focus,
            **(more or {}),
        }
        run_button.connect(
            self.worker,
            button,
            self.visitor,
            inputs=inputs,
            outputs=outputs,
            make_job=make_job,
            update=update,
            titles=self.titles,
        )

    def compare_with_another(self, beside: gr.CheckboxGroup) -> None:
        """Let methods chosen beside the point in focus follow it where they would be that point itself."""
        self.focus.change(
            lambda focus, chosen: beside_another(focus, chosen) or gr.skip(),
            [self.focus, beside],
            beside,
            queue=False,
            api_visibility="private",
            show_progress="hidden",
        )

    def reported(self, setup: Setup, visitor: object, request: gr.Request) -> dict[str, Any]:
        """What a report may say besides the points: what the visitor's last job of each view found on that model, where
        that has something to report (`reported`, arguments of `report_html`)."""
        found: dict[str, Any] = {}
        for view in self.views:
            task = self.worker.last(owner_of(visitor, request), view.key)
            own = getattr(task.job, "setup", None) if task and task.over else None
            if task and own and own.model == setup.model and hasattr(task.outcome, "reported"):
                found |= task.outcome.reported()
        return found


class View(ABC):
    """A tab of the page. `app.py` lists the views; each has a folder of its own."""

    key: ClassVar[str]
    """Names it in links and in the queue."""
    title: ClassVar[str]
    """On its tab."""

    def __init__(self) -> None:
        self.form = Form()
        """Its own controls, by name."""

    @abstractmethod
    def build(self, sources: Sequence[str]) -> None:
        """Lay it out inside its tab."""

    @abstractmethod
    def connect(self, page: Page, tab: gr.Tab) -> None:
        """Wire it, once all views are laid out."""
