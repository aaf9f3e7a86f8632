"""Is it faster, is it smaller? Dense and packed weights, timed on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from components.jobs import run_button
from components.jobs.run_button import Values
from components.page import api
from components.page.view import Page, View
from components.recipe.request import named_focus
from components.speed.figures import model_figure, shapes_figure
from components.speed.job import Latency, MeasureLatency, recorded
from components.speed.report import (
    missing_html,
    protocol_html,
    published_html,
    rates_html,
    sizes_html,
    source_label,
    verdict_html,
)
from components.workspace.defaults import is_recorded
from components.workspace.focus import Focus
from wanda_core.errors import Refused

SHAPES_NOTE = (
    "<h2>Layer by layer</h2><p class='hint'>One product of each shape that the model's layers have (outputs x inputs), "
    "against torch's dense product. Our own dense kernel is built like the packed ones: what packing alone gains is "
    "the difference to it.</p>"
)


class Speed(View):
    """Decode and prompt, dense and packed, and what the weights take in every form."""

    key = "speed"
    title = "Speed"

    def build(self, sources: Sequence[str]) -> None:
        self.button = run_button.lay_out(
            self.key,
            "Measure speed",
            "Times the layers and the whole model on this machine, dense and packed; 2:4 by the method in focus.",
            run_id="speed-run",
            status_id="speed-status",
        )
        self.summary = gr.HTML(elem_id="speed-summary")
        self.model = gr.Plot(visible=False, show_label=False, container=False, elem_id="speed-model")
        self.note = gr.HTML()
        self.shapes = gr.Plot(visible=False, show_label=False, container=False, elem_id="speed-shapes")
        self.sizes = gr.HTML(elem_id="sizes")
        self.protocol = gr.HTML(elem_id="speed-protocol")
        self.filled = gr.State(False)

    def connect(self, page: Page, tab: gr.Tab) -> None:
        shown = [self.summary, self.model, self.note, self.shapes, self.sizes, self.protocol]
        page.on_run(
            self.button,
            form=self.form,
            outputs=[*shown, self.filled],
            make_job=_job,
            update=lambda outcome, values: [*_values(outcome), True],
        )

        def fill(filled: bool, source: object) -> list[Any]:
            """The recorded measurement, where nothing was measured yet and it is of the model that is selected."""
            if filled:
                return [gr.skip()] * len(shown)
            if is_recorded(source):
                return _values(recorded(), recorded=True)
            note = '<p class="label">Not measured for this model yet: press Measure speed.</p>'
            return [note, *(gr.update(visible=False), ""), *(gr.update(visible=False), "", "")]

        tab.select(
            fill,
            [self.filled, page.panel["source"]],
            shown,
            api_visibility="private",
            show_progress="hidden",
        )

        async def latency(source: str = page.sources[0], method: str = "magnitude") -> dict[str, Any]:
            """Time a model dense and packed on this machine.

            Args:
                source: a model on offer, or a Hub id.
                method: prunes 2:4; it does not matter for the speed.

            Returns:
                protocol, rows with medians and quartiles, and sizes in bytes.
            """

            def job() -> MeasureLatency:
                values = api.panel_values(source)
                return _job({"focus": named_focus(f"{method}-2:4", values, page.sources)})

            found = await api.outcome_of(page.worker, job)
            return api.plain({"protocol": found.protocol, "rows": found.rows, "sizes": found.sizes})

        gr.api(latency, api_name="latency", concurrency_limit=None)


def _job(values: Values) -> MeasureLatency:
    focus = values.get("focus")
    if not isinstance(focus, Focus):
        raise Refused("choose a point first: click one in Cost")
    recipe = replace(focus.recipe, sparsity=None, pattern="2:4", group=None, allocation="uniform")
    return MeasureLatency(focus.setup, recipe)


def _values(outcome: Latency, recorded: bool = False) -> list[Any]:
    return [
        source_label(outcome.protocol, recorded) + f'<p class="verdict">{verdict_html(outcome.rows)}</p>',
        gr.update(value=model_figure(outcome.rows), visible=True),
        SHAPES_NOTE,
        gr.update(value=shapes_figure(outcome.rows), visible=True),
        rates_html(outcome.rows, outcome.protocol)
        + sizes_html(outcome.sizes)
        + published_html(outcome.rows)
        + missing_html(outcome.rows),
        protocol_html(outcome.protocol, recorded),
    ]
