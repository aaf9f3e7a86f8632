"""The Speed and export view: is it faster, is it smaller, take it away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from components.display.status_line import ready
from components.export.job import KINDS, Export
from components.export.layout import build_push, update_export
from components.jobs.queue import Worker
from components.jobs.run_button import on_click
from components.limits import HOSTED
from components.recipe.request import check_panel
from components.speed.figures import model_figure, shapes_figure
from components.speed.job import Latency, MeasureLatency, recorded
from components.speed.report import missing_html, protocol_html, sizes_html, source_label, verdict_html
from wanda_core.errors import Refused


@dataclass
class SpeedView:
    """The components of the view."""

    run: gr.Button
    stop: gr.Button
    status_line: gr.HTML
    measured: list[gr.components.Component]
    """In the order in which `update` gives their values."""
    kind: gr.Radio
    export: gr.Button
    export_stop: gr.Button
    export_status: gr.HTML
    exported: list[gr.components.Component]
    """In the order in which `update_export` gives their values."""
    download: gr.DownloadButton


def build() -> SpeedView:
    """Lay the view out, filled with the recorded measurement."""
    with gr.Row():
        run = gr.Button("Measure speed", variant="primary", min_width=120, elem_id="speed-run")
        stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="speed-stop")
    status_line = gr.HTML(
        ready(
            "Prunes 2:4 by the first chosen method, then times the layers and the whole model, dense and packed."
        ),
        elem_id="speed-status",
    )
    summary, model, note, shapes, sizes, protocol = update(recorded(), recorded=True)
    measured = [
        gr.HTML(summary, elem_id="speed-summary"),
        gr.Plot(model, show_label=False, container=False, elem_id="speed-model"),
        gr.HTML(note),
        gr.Plot(shapes, show_label=False, container=False, elem_id="speed-shapes"),
        gr.HTML(sizes, elem_id="sizes"),
        gr.HTML(protocol, elem_id="speed-protocol"),
    ]
    gr.HTML(
        "<h3>Take it away</h3><p class='hint'>Exports the model pruned by the first chosen method, at the sparsity or "
        "pattern on the left, with recipe, masks, calibration tokens and a model card. It is read back and compared to "
        "the bit before it is offered.</p>"
    )
    kind = gr.Radio(
        [(label, key) for key, label in KINDS.items()], value="folder", label="What", elem_id="kind"
    )
    with gr.Row():
        export = gr.Button("Export", variant="primary", min_width=120, elem_id="export-run")
        export_stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="export-stop")
    export_status = gr.HTML(ready("Nothing exported yet."), elem_id="export-status")
    contents = gr.HTML(elem_id="export-contents")
    download = gr.DownloadButton("Download", visible=False, elem_id="download")
    file = gr.State()
    if HOSTED:  # signing in exists only on a Space
        build_push(file)
    return SpeedView(
        run,
        stop,
        status_line,
        measured,
        kind,
        export,
        export_stop,
        export_status,
        [contents, download, file],
        download,
    )


def connect(worker: Worker, view: SpeedView, panel_inputs: Sequence[Any], sources: Sequence[str]) -> None:
    """Let the buttons work.

    Args:
        panel_inputs: of the recipe panel, the source first.
        sources: models on offer beside those of the Hub.
    """

    def measure(source: object, *values: object) -> MeasureLatency:
        setup, recipes = check_panel(source, sources, *values)
        first = recipes[0]
        return MeasureLatency(setup, replace(first, sparsity=None, pattern="2:4", group=None))

    def export(kind: object, source: object, *values: object) -> Export:
        if not isinstance(kind, str) or kind not in KINDS:
            raise Refused("choose what to export from the list")
        setup, recipes = check_panel(source, sources, *values)
        return Export(setup, recipes[0], kind, view.download.GRADIO_CACHE)

    on_click(
        worker,
        run=view.run,
        stop=view.stop,
        status_line=view.status_line,
        inputs=panel_inputs,
        outputs=view.measured,
        make_job=measure,
        update=update,
        api_name="latency",
    )
    on_click(
        worker,
        run=view.export,
        stop=view.export_stop,
        status_line=view.export_status,
        inputs=[view.kind, *panel_inputs],
        outputs=view.exported,
        make_job=export,
        update=update_export,
        api_name="export",
    )


def update(outcome: Latency, recorded: bool = False) -> list[Any]:
    """Values for `SpeedView.measured`."""
    return [
        source_label(outcome.protocol, recorded) + f'<p class="verdict">{verdict_html(outcome.rows)}</p>',
        model_figure(outcome.rows),
        "<h3>Layer by layer</h3><p class='hint'>One product of each shape that the model's layers have (outputs x "
        "inputs), against torch's dense product. Our own dense kernel is built like the packed ones: what packing "
        "alone gains is the difference to it.</p>",
        shapes_figure(outcome.rows),
        sizes_html(outcome.sizes) + missing_html(outcome.rows),
        protocol_html(outcome.protocol, recorded),
    ]
