"""The Results view: what did it cost? A verdict, a table, two charts, and how all of it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.display.html import protocol_note
from components.display.perplexity_chart import perplexity_figure
from components.results import figures
from components.results.job import Outcome, recorded_run
from components.results.report import errors_note, shown_layers, source_label, table_html, verdict_html


@dataclass
class ResultsView:
    """The components of the view, in the order in which `update` gives their values."""

    summary: gr.HTML
    perplexity: gr.Plot
    errors_note: gr.HTML
    errors: gr.Plot
    protocol: gr.HTML

    def all(self) -> list[gr.components.Component]:
        return [self.summary, self.perplexity, self.errors_note, self.errors, self.protocol]


def build() -> ResultsView:
    """Lay the view out, filled with the recorded run."""
    summary, perplexity, note, errors, protocol = update(recorded_run(), recorded=True)
    return ResultsView(
        gr.HTML(summary, elem_id="summary"),
        gr.Plot(perplexity, show_label=False, container=False, elem_id="perplexity-chart"),
        gr.HTML(note),
        gr.Plot(errors, show_label=False, container=False, elem_id="errors-chart"),
        gr.HTML(protocol, elem_id="protocol"),
    )


def update(outcome: Outcome, recorded: bool = False) -> list[Any]:
    """Values for `ResultsView.all()`."""
    layers = shown_layers(outcome)
    return [
        source_label(outcome.protocol, recorded)
        + f'<p class="verdict">{verdict_html(outcome.rows)}</p>'
        + table_html(outcome.rows),
        perplexity_figure(outcome.rows),
        errors_note(layers),
        figures.layers_figure(layers),
        protocol_note(outcome.protocol, recorded),
    ]
