"""The view Inside: which weights went, and why? A map of the model, and one of its layers laid open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.display.names import name
from components.display.status_line import ready
from components.inside.card import GROUPS
from components.inside.handlers import Ran, clicked, first_look, opening, recolour, redraw
from components.inside.job import LookInside, pair
from components.inside.report import QUANTITIES, map_note_html
from components.jobs.queue import Worker
from components.jobs.run_button import on_click
from components.recipe.layout import RecipePanel
from components.recipe.request import PATTERNS, check_panel
from wanda_core.method.methods import METHODS

CLICKS = """
const charts = {"map-chart": "map", "density-chart": "density", "window-chart": "window", "plane-chart": "plane"};
setInterval(() => {
  for (const [id, chart] of Object.entries(charts)) {
    const plot = document.querySelector(`#${id} .js-plotly-plot`);
    if (!plot || !plot.on || plot.dataset.clicks) continue;
    plot.dataset.clicks = "1";
    plot.on("plotly_click", (event) => {
      const point = event.points[0];
      const at = chart == "plane" ? [point.customdata?.[7], point.customdata?.[6]] : [point.x, point.y];
      trigger("click", {chart, x: at[0], y: at[1]});
    });
  }
}, 250);
"""
"""A plot has no click event of its own: this passes on those of the pictures."""


@dataclass
class InsideView:
    """What `connect` wires."""

    run: gr.Button
    stop: gr.Button
    status_line: gr.HTML
    look: gr.State
    title: gr.HTML
    map: gr.Plot
    map_note: gr.HTML
    quantity: gr.Radio
    clicks: gr.HTML
    controls: list[gr.components.Component]
    """layer, first and second method, percent, pattern, group, row and column of the weight, and whether unfolded."""
    card: list[gr.components.Component]
    """label, histogram, plane, densities, window, arithmetic, norms, rows."""
    fold: gr.Accordion


def build() -> InsideView:
    """Lay the view out; `first_look` fills it when its tab is opened."""
    with gr.Row():
        run = gr.Button("Look inside", variant="primary", elem_id="look", min_width=120)
        stop = gr.Button("Stop looking", interactive=False, min_width=120)
    status_line = gr.HTML(
        ready("Reads the model's inputs once, by the recipe's settings; then every layer opens at once."),
        elem_id="look-status",
    )
    key = gr.State("")
    title = gr.HTML(ready("Opening a recorded look…"), elem_id="look-title")
    quantity = gr.Radio(
        [(text, q) for q, (text, _) in QUANTITIES.items()],
        value="differ",
        label="Colour the map by",
        elem_id="map-by",
    )
    map_note = gr.HTML(map_note_html("differ"))
    map_plot = _plot("map-chart")
    clicks = gr.HTML("", js_on_load=CLICKS)
    layer = gr.Dropdown([], label="Layer (or click the map)", elem_id="layer")
    methods = [(name(method), method) for method in METHODS]
    with gr.Row():
        one = gr.Dropdown(
            methods, value="magnitude", label="First method", min_width=140, elem_id="first-method"
        )
        two = gr.Dropdown(
            methods, value="wanda", label="Second method", min_width=140, elem_id="second-method"
        )
    amount = gr.Slider(0, 95, value=50, step=1, label="Preview sparsity (%)", elem_id="preview")
    with gr.Row():
        shape = gr.Radio(
            list(PATTERNS), value="unstructured", label="Preview pattern", elem_id="preview-pattern"
        )
        groups = gr.Radio(
            [(text, g) for g, text in GROUPS.items()],
            value="own",
            label="Weights compete within",
            elem_id="group",
        )
    card = [gr.HTML(elem_id="card-label")]
    _says(
        "Scores of all weights, low ones left. The dashed line is the middle threshold, the band holds 90% of them."
    )
    card.append(_plot("histogram-chart"))
    _says(
        "Each weight by its size and its input's norm; left of a method's line it goes. Magnitude's line is vertical; "
        "Wanda's is a hyperbola, straight on log axes, one for every row (three are drawn). Dots are single weights."
    )
    card.append(_plot("plane-chart"))
    _says(
        "The whole matrix under each method: dark stripes are inputs or rows that lost most. Click to move the frame."
    )
    card.append(_plot("density-chart"))
    _says("Inside the frame, one pixel per weight: colour where the methods differ. Hover or click a weight.")
    card.append(_plot("window-chart"))
    with gr.Row():
        row = gr.Number(0, label="Row of the weight", precision=0, min_width=100, elem_id="row")
        column = gr.Number(0, label="Input of the weight", precision=0, min_width=100, elem_id="column")
    card.append(gr.HTML(elem_id="arithmetic"))
    unfolded = gr.State(False)
    with gr.Accordion("Inputs and rows", open=False, elem_id="fold") as fold:
        _says("How loud each input is; outliers, more than five times the mean, are named.")
        card.append(_plot("inputs-chart"))
        _says(
            "How far each output row moves by the second method, estimated from the norms: lower and flatter is better."
        )
        card.append(_plot("rows-chart"))
    controls = [layer, one, two, amount, shape, groups, row, column, unfolded]
    return InsideView(
        run, stop, status_line, key, title, map_plot, map_note, quantity, clicks, controls, card, fold
    )


def connect(worker: Worker, view: InsideView, panel: RecipePanel, sources: list[str], tab: gr.Tab) -> None:
    """Wire the view. Opening its tab after a run opens that run's own masks."""
    layer, one, two, amount, shape, groups, row, column, unfolded = view.controls
    own = [view.look, view.title, view.map, layer, one, two, amount, shape, groups, row, column, *view.card]

    def job(source: Any, *values: Any) -> LookInside:
        setup, recipes = check_panel(source, sources, *values)
        return LookInside(setup, pair(recipes))

    on_click(
        worker,
        run=view.run,
        stop=view.stop,
        status_line=view.status_line,
        inputs=panel.inputs,
        outputs=own,
        make_job=job,
        update=opening,
        api_name="look",
    )
    light = {"show_progress": "hidden", "concurrency_limit": 4, "trigger_mode": "always_last"}
    moved = [view.look, *view.controls]
    for control in (layer, one, two, amount, shape, groups, row, column):
        control.input(redraw, moved, view.card, api_name="preview" if control is amount else None, **light)
    view.clicks.click(clicked, moved, [layer, row, column, *view.card], **light)
    view.quantity.input(recolour, [view.look, view.quantity], [view.map, view.map_note], **light)
    view.fold.expand(lambda: True, None, unfolded, queue=False).then(redraw, moved, view.card, **light)
    view.fold.collapse(lambda: False, None, unfolded, queue=False)
    ran = gr.Checkbox(visible=False)
    (
        tab.select(first_look, view.look, own, api_visibility="private", **light)
        .then(Ran(sources), [view.look, *panel.inputs], ran, queue=False, api_visibility="private")
        .then(None, ran, None, js="(ran) => { if (ran) document.querySelector('#look').click(); }")
    )


def _says(sentence: str) -> None:
    gr.HTML(f'<p class="hint">{sentence}</p>')


def _plot(elem_id: str) -> gr.Plot:
    return gr.Plot(show_label=False, container=False, elem_id=elem_id)
