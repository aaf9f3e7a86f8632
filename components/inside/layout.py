"""Which weights were pruned, and why? A map of the model, and one of its layers laid open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from components.display.names import name
from components.inside import api, handlers
from components.inside.parts import Parts
from components.inside.report import QUANTITIES, READY
from components.inside.settings import GROUPS, OFFERED, PATTERNS, parse_pattern, parse_weight
from components.jobs import run_button
from components.page.link_settings import matching, number, one_of, truth
from components.page.view import Page, View

CLICKS = """
const charts = {"map-chart": "map", "density-chart": "density", "window-chart": "window", "plane-chart": "plane"};
let wanted = null, sent = null, since = 0;
const drawn = () => document.querySelector("#arithmetic [data-weight]")?.dataset.weight;
const send = () => {  // one key at a time, so that the answers come in order: what was pressed meanwhile adds up
  if (!wanted || (sent && drawn() != sent && performance.now() - since < 1500)) return;
  [sent, since] = [wanted.join(), performance.now()];
  trigger("click", {chart: "window", x: wanted[1], y: wanted[0]});
  wanted = null;
};
setInterval(send, 30);
const wire = () => {
  for (const [id, chart] of Object.entries(charts)) {
    const plot = document.querySelector(`#${id} .js-plotly-plot`);
    if (!plot || !plot.on || plot.dataset.clicks) continue;
    plot.dataset.clicks = "1";
    plot.on("plotly_click", (event) => {
      const point = event.points[0];
      const [x, y] = chart == "plane" ? [point.customdata?.[7], point.customdata?.[6]] : [point.x, point.y];
      trigger("click", {chart, x, y});
    });
  }
  const pane = document.querySelector("#window-chart");
  if (!pane || pane.dataset.keys) return;
  pane.dataset.keys = "1";
  pane.tabIndex = 0;
  pane.setAttribute("role", "group");
  pane.setAttribute("aria-label", "Weights of the window: arrow keys choose another weight");
  const steps = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
  pane.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const waits = sent && performance.now() - since < 1500;
    const from = wanted ?? (waits ? sent : drawn())?.split(",").map(Number);
    if (!from) return;
    wanted = [Math.max(0, from[0] + step[0]), Math.max(0, from[1] + step[1])];
    send();
  });
};
setInterval(wire, 250);
"""
"""A plot has no click event of its own: this passes on those of the pictures, and the window's arrow keys."""
LIGHT: dict[str, Any] = {
    "preprocess": False,
    "show_progress": "hidden",
    "concurrency_limit": 4,
    "trigger_mode": "always_last",
    "api_visibility": "private",
}
OPENING = '<p class="hint">Opening…</p>'
"""Until the engine is imported, seconds after the first start."""
Handler = Callable[[dict[str, Any]], Parts]


class Inside(View):
    """Which weights were pruned, and why?"""

    key = "inside"
    title = "Inside"

    def build(self, sources: Sequence[str]) -> None:
        self.shown = gr.State(None)
        self.unfolded = gr.State(False)
        self.run = run_button.lay_out(
            "inside", "Inspect layers", READY, run_id="inspect", status_id="inspect-status"
        )
        self.parts = Parts(
            shown=self.shown, arrived=gr.State(None), title=gr.HTML(OPENING, elem_id="inside-title")
        )
        self.clicks = gr.HTML("", js_on_load=CLICKS)
        with gr.Column(visible=False, elem_id="inside-body") as self.parts.body:
            self._controls()
            with gr.Row(elem_id="inside-card"):
                with gr.Column(min_width=300):
                    self._map()
                    with gr.Column() as self.parts.left:
                        self.parts.plane = _plot("plane-chart")
                        _says(
                            "Left of a method's line its weights are pruned. Dots are single weights, × is the one "
                            "written out: click another."
                        )
                with gr.Column(min_width=300):
                    self.parts.label = gr.HTML(elem_id="inside-label")
                    with gr.Column() as self.parts.right:
                        self.parts.arithmetic = gr.HTML(elem_id="arithmetic")
                        self.parts.window = _plot("window-chart")
                        _says("One pixel per weight. Hover, click, or move with the arrow keys.")
            with gr.Column() as self.parts.below:
                self._folded()
        for part in (
            "layer",
            "weight",
            "compare",
            "as_pruned",
            "preview",
            "preview_pattern",
            "preview_group",
        ):
            setattr(self.parts, part, self.form[part])

    def _map(self) -> None:
        self.parts.map = _plot("map-chart")
        self.form.add(
            "map_by",
            gr.Radio(
                [(label, key) for key, (label, _) in QUANTITIES.items()],
                value="differ",
                label="Colour the map by",
                show_label=False,
                container=False,
                elem_id="map-by",
                elem_classes="chips",
            ),
            one_of(tuple(QUANTITIES)),
        )
        self.parts.map_note = gr.HTML(elem_id="map-note")

    def _controls(self) -> None:
        with gr.Row(elem_id="inside-controls"):
            self.form.add(
                "layer",
                # Custom values: what a link names is there before the list is.
                gr.Dropdown([], label="Layer", allow_custom_value=True, min_width=170, elem_id="layer"),
                matching(r"[\w.]{1,200}"),
            )
            self.form.add(
                "weight",
                gr.Textbox(
                    "", label="Weight: row, input", max_lines=1, max_length=20, min_width=90, elem_id="weight"
                ),
                parse_weight,
            )
            self.form.add(
                "compare",
                gr.Dropdown(
                    [(name(method), method) for method in OFFERED],
                    value="magnitude",
                    label="Compare with",
                    min_width=130,
                    elem_id="compare",
                ),
                one_of(OFFERED),
            )
            self.form.add(
                "as_pruned",
                gr.Checkbox(True, label="As pruned", min_width=110, elem_id="as-pruned"),
                truth,
            )
        with gr.Row(elem_id="inside-preview"):
            self.form.add(
                "preview",
                gr.Slider(0, 95, value=50, step=1, label="Preview sparsity (%)", elem_id="preview"),
                number(0, 95),
            )
            self.form.add(
                "preview_pattern",
                gr.Dropdown(
                    list(PATTERNS),
                    value="unstructured",
                    label="Preview pattern",
                    allow_custom_value=True,
                    min_width=120,
                    elem_id="preview-pattern",
                ),
                parse_pattern,
            )
            self.form.add(
                "preview_group",
                gr.Dropdown(
                    [(text, group) for group, text in GROUPS.items()],
                    value="own",
                    label="Weights compete within",
                    min_width=150,
                    elem_id="preview-group",
                ),
                one_of(tuple(GROUPS)),
            )

    def _folded(self) -> None:
        with gr.Accordion(
            "The whole layer: density, scores, inputs and rows", open=False, elem_id="fold"
        ) as fold:
            self.fold = fold
            self.parts.zeros = gr.HTML(elem_id="zeros")
            _says(
                "The whole matrix: dark stripes are inputs or rows that lost most. Click to move the frame."
            )
            self.parts.density = _plot("density-chart")
            _says(
                "All scores, low ones left. The dashed line is the middle threshold, the band holds 90% of them."
            )
            self.parts.histogram = _plot("histogram-chart")
            _says("How loud each input is; outliers, more than five times the mean, are named.")
            self.parts.inputs = _plot("inputs-chart")
            _says("How far each output row moves by the point in focus, estimated from the norms.")
            self.parts.rows = _plot("rows-chart")

    def connect(self, page: Page, tab: gr.Tab) -> None:
        self.parts.focus = page.focus
        outputs = self.parts.listed()
        page.on_run(
            self.run,
            form=self.form,
            outputs=outputs,
            make_job=lambda values: handlers.make_job(values, page.sources),
            update=lambda outcome, values: handlers.found(outcome, values).values(),
            more={"unfolded": self.unfolded},
        )
        own = {**self.form.components, "shown": self.shown, "unfolded": self.unfolded}
        whole = {**page.panel.components, **own, "focus": page.focus}
        opened = _named(whole, lambda values: handlers.opened_tab(values, page.sources))
        tab.select(opened, list(whole.values()), outputs, **LIGHT)
        arrived = _named(whole, lambda values: handlers.arrived(values, page.sources))
        gr.on([self.parts.arrived.change, page.focus.change], arrived, list(whole.values()), outputs, **LIGHT)

        def on(event: Any, handler: Handler) -> None:
            event(_named(own, handler), list(own.values()), outputs, **LIGHT)

        on(self.form["layer"].input, handlers.chosen_layer)
        on(self.form["weight"].submit, handlers.redrawn)
        on(self.form["weight"].blur, handlers.redrawn)
        on(self.form["compare"].input, handlers.redrawn)
        on(self.form["as_pruned"].input, handlers.shown_as_pruned)
        on(self.form["map_by"].input, handlers.recoloured)
        for control in ("preview", "preview_pattern", "preview_group"):
            on(self.form[control].input, handlers.previewed)

        def clicked(event: gr.EventData, *given: Any) -> list[Any]:
            return handlers.clicked(event, dict(zip(own, given, strict=True))).values()

        # Every click: the last one alone would come with the place of the first.
        self.clicks.click(clicked, list(own.values()), outputs, **{**LIGHT, "trigger_mode": "multiple"})
        hidden: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        unfold = self.fold.expand(lambda: True, None, self.unfolded, **hidden)
        unfold.then(_named(own, handlers.redrawn), list(own.values()), outputs, **LIGHT)
        self.fold.collapse(lambda: False, None, self.unfolded, **hidden)
        api.serve(page)


def _named(inputs: Mapping[str, Any], handler: Handler) -> Callable[..., list[Any]]:
    """A handler for Gradio, which gives values by place, of one that takes them by name."""

    def handle(*given: Any) -> list[Any]:
        return handler(dict(zip(inputs, given, strict=True))).values()

    return handle


def _says(sentence: str) -> None:
    gr.HTML(f'<p class="hint">{sentence}</p>')


def _plot(elem_id: str) -> gr.Plot:
    return gr.Plot(show_label=False, container=False, elem_id=elem_id)
