"""The view Inside: which weights went, and why? A map of the model, and one of its layers laid open."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from components import figures, figures_map, follow, status
from components.engine import import_engine
from components.inside_card import GROUPS, card_values, finite, side_names
from components.job import PATTERNS, check_panel
from components.look import (
    RECORDED_KEY,
    Look,
    LookInside,
    keep,
    look_named,
    pair,
    recorded,
)
from components.recipe_panel import RecipePanel
from components.words import name
from components.worker import Worker
from wanda_core.errors import Refused
from wanda_core.methods import METHODS

QUANTITIES = {
    "differ": ("disagreement", "Brighter: the two methods remove more different weights there."),
    "error": ("output error", "Brighter: the layer's output moved more; compare the two maps."),
    "sparsity": (
        "sparsity reached",
        "How much went from each layer; even where every row gives the same share.",
    ),
    "outliers": ("outlier inputs", "Brighter: more inputs are over five times as loud as the layer's mean."),
}
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
        status.ready(
            "Reads the model's inputs once, by the recipe's settings; then every layer opens at once."
        ),
        elem_id="look-status",
    )
    key = gr.State("")
    title = gr.HTML(status.ready("Opening a recorded look…"), elem_id="look-title")
    quantity = gr.Radio(
        [(text, q) for q, (text, _) in QUANTITIES.items()],
        value="differ",
        label="Colour the map by",
        elem_id="map-by",
    )
    map_note = gr.HTML(_map_note("differ"))
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

    follow.on_click(
        worker,
        run=view.run,
        stop=view.stop,
        status_line=view.status_line,
        inputs=panel.inputs,
        outputs=own,
        make_job=job,
        update=_opening,
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
        .then(_Ran(sources), [view.look, *panel.inputs], ran, queue=False, api_visibility="private")
        .then(None, ran, None, js="(ran) => { if (ran) document.querySelector('#look').click(); }")
    )


class _Ran:
    """Whether there is a run by the recipe panel's settings that the view does not show yet."""

    def __init__(self, sources: list[str]) -> None:
        self.sources = sources

    def __call__(self, shown: Any, source: Any, *values: Any) -> bool:
        from components.measure import has_run

        try:
            setup, recipes = check_panel(source, self.sources, *values)
            look = look_named(shown)
        except Refused:
            return False
        return has_run(setup, pair(recipes)) and not (
            look.setup == setup.digest and look.recipes == pair(recipes) and any(look.own)
        )


def first_look(shown: Any) -> Any:
    """Values of the whole view where it shows nothing yet: the recorded look. Made when the view is opened, because it
    takes torch, which the first screen does without."""
    if shown:
        return gr.skip()
    import_engine()
    look = recorded()
    return _showing(look, next(iter(look.norms)), 20, 40)


def redraw(key: Any, layer: Any, *settings: Any) -> list[Any]:
    """Values for the card after a control was moved."""
    try:
        return card_values(look_named(key), layer, *settings)
    except Refused as error:
        return _refused(str(error))


def clicked(event: gr.EventData, key: Any, layer: Any, *settings: Any) -> list[Any]:
    """A click on a picture opens a layer or a weight."""
    *settings, row, column, unfolded = settings
    try:
        look = look_named(key)
        chart, x, y = (event._data.get(part) for part in ("chart", "x", "y"))
        if chart == "map":
            layer, row, column = _layer_at(look, x, y), 0, 0
        else:
            row, column = round(finite("Row of the weight", y)), round(finite("Input of the weight", x))
        return [layer, row, column, *card_values(look, layer, *settings, row, column, unfolded)]
    except Refused as error:
        return [gr.skip()] * 3 + _refused(str(error))


def recolour(key: Any, quantity: Any) -> list[Any]:
    """Map and sentence for another quantity."""
    try:
        look = look_named(key)
        if not isinstance(quantity, str) or quantity not in QUANTITIES:
            raise Refused("choose a colour from the list")
    except Refused as error:
        return [gr.skip(), status.failed(str(error))]
    return [_map(look, quantity), _map_note(quantity)]


def _opening(look: Look) -> list[Any]:
    """Values of the whole view for a look that was just taken: the layer where the methods differ most."""
    keep(look)
    return _showing(look, max(look.layers, key=lambda summary: summary.differ).name, 0, 0)


def _showing(look: Look, layer: str, row: int, column: int) -> list[Any]:
    settings = _settings(look)
    return [
        look.name,
        _title(look),
        _map(look, "differ"),
        gr.update(choices=_names(look), value=layer),
        *settings,
        row,
        column,
        *card_values(look, layer, *settings, row, column, False),
    ]


def _settings(look: Look) -> tuple[str, str, float, str, str]:
    """Values of the controls for a look's own recipes."""
    first, second = look.recipes
    return first.method, second.method, round(100 * first.sparsity), first.pattern, "own"


def _layer_at(look: Look, block: Any, kind: Any) -> str:
    """The first layer of that block and kind."""
    for summary in look.layers:
        if summary.block == block and summary.kind == kind:
            return summary.name
    raise Refused("choose a layer from the map or the list")


def _names(look: Look) -> list[tuple[str, str]]:
    return [(f"block {layer.block}, {layer.kind} · {layer.name}", layer.name) for layer in look.layers]


def _map(look: Look, quantity: str) -> Any:
    figure = figures_map.map_figure(look.layers, quantity, side_names(look.recipes))
    return figures.drawn(figure, f"map-{quantity}")


def _map_note(quantity: str) -> str:
    return f'<p class="hint">{QUANTITIES[quantity][1]} Click a cell to open that layer.</p>'


def _title(look: Look) -> str:
    protocol, source = look.protocol, escape(look.source)
    read = (
        f"Inputs read on {protocol['samples']} windows of {protocol['length']} tokens of "
        f"{escape(protocol['calibration'])}, seed {protocol['seed']}, {escape(protocol['device'])}, "
        f"{protocol['dtype']}, torch {escape(protocol['torch'])}."
    )
    methods = " and ".join(
        f"{name(r.method)} {r.pattern if r.parsed_pattern.structured else f'{r.sparsity:.0%}'}"
        for r in look.recipes
    )
    if look.name == RECORDED_KEY:
        return (
            f'<p class="label recorded"><b>A recorded look</b> into {source}, made on {escape(protocol["date"])}: '
            f"{methods}, preview. The weights of one layer are real and here to play with. {read}</p>"
        )
    own = {(True, True): "the run's own masks", (False, False): "preview from the dense model's statistics"}
    masks = own.get(look.own, "the run's own masks where it made some, else preview")
    return f'<p class="label"><b>{source}</b>, {methods}: {masks}. {read}</p>'


def _refused(message: str) -> list[Any]:
    return [status.failed(message), *[gr.skip()] * 7]


def _says(sentence: str) -> None:
    gr.HTML(f'<p class="hint">{sentence}</p>')


def _plot(elem_id: str) -> gr.Plot:
    return gr.Plot(show_label=False, container=False, elem_id=elem_id)
