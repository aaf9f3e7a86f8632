"""What does pruning cost? The verdict, the curve with the budget, every point, and the layers of the one in focus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from components.cost import api, handlers, sections
from components.cost.byte_front import BytesFront
from components.cost.figures import QUANTITIES
from components.cost.handlers import BUDGET, SHOWN
from components.cost.kept import recorded_of
from components.cost.request import MOST_PERCENT, check_measure
from components.jobs.visitor import owner_of
from components.page.link_settings import hub_id, one_of, truth, whole
from components.page.view import Page, View
from components.workspace.defaults import default_source

PICK_IN_TABLE = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-point]");
  if (row) trigger("click", {point: Number(row.dataset.point)});
});
"""
PICK_IN_CHART = """
const ring = (plot, at) => {
  if (plot.wandaLabRing === at && plot.wandaLabData === plot.data) return;
  plot.wandaLabRing = at;
  plot.wandaLabData = plot.data;
  plot.data.forEach((trace, index) => {
    if (!Array.isArray(trace.customdata) || trace.mode === "lines") return;
    const usual = Array.isArray(trace.marker.symbol) ? 2 : 0;
    const widths = trace.customdata.map((key) => key === at ? 4 : usual);
    const colour = getComputedStyle(plot).color;
    const colours = trace.customdata.map((key) => key === at ? colour : trace.marker.color);
    window.Plotly.restyle(plot, {"marker.line.width": [widths], "marker.line.color": [colours]}, [index]);
  });
};
setInterval(() => {
  const at = Number(document.querySelector("#focus-mark [data-point]")?.dataset.point ?? -1);
  for (const row of document.querySelectorAll("#points tr[data-point]")) {
    const own = Number(row.dataset.point) === at;
    if (row.classList.contains("in-focus") !== own) row.classList.toggle("in-focus", own);
    const button = row.querySelector("button.pick");
    if (button?.getAttribute("aria-pressed") !== String(own)) button?.setAttribute("aria-pressed", own);
  }
  const plot = document.querySelector("#perplexity-chart .js-plotly-plot");
  if (!plot?.on || !plot.data) return;
  ring(plot, at);
  if (plot.dataset.clicks) return;
  plot.dataset.clicks = "1";
  plot.on("plotly_click", (event) => {
    const key = event.points.map((point) => point.customdata).find((key) => typeof key === "number");
    if (key !== undefined) trigger("click", {point: key});
  });
  plot.on("plotly_relayout", (event) => {
    const at = event["shapes[0].x0"] !== undefined && plot.layout.shapes[0].yref === "paper"
      ? plot.layout.shapes[0].x0 : event["shapes[0].y0"] !== undefined ? plot.layout.shapes[0].y0 : undefined;
    if (at !== undefined) trigger("release", {perplexity: at});
  });
}, 250);
"""
"""A plot has no click event of its own: this passes clicks on points and the moved budget on, and rings the point in
focus."""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


class Cost(View):
    """What pruning costs on the evaluation text."""

    key = "cost"
    title = "Cost"

    def build(self, sources: Sequence[str]) -> None:
        source = default_source(sources)
        first = dict(
            zip(SHOWN, handlers.values_of(recorded_of(source), source, BUDGET, "error", None), strict=True)
        )
        self.run = gr.State(first["run"])
        self.changed = gr.HTML("", elem_id="settings-changed")
        self.summary = gr.HTML(first["summary"], elem_id="summary")
        self.clicks = gr.HTML("", visible="hidden", js_on_load=PICK_IN_CHART, elem_id="chart-clicks")
        self.mark = gr.HTML("", visible="hidden", elem_id="focus-mark")
        self.file = gr.DownloadButton("Download", visible="hidden", elem_id="file")
        self.report = gr.Button("Report", visible="hidden", elem_id="make-report")  # pressed by the header's
        with gr.Column(visible=first["body"].get("visible", True), elem_id="cost-body") as self.body:
            self.curve = _plot(first["curve"], "perplexity-chart")
            with gr.Row(elem_id="budget-row"):
                self._budget_controls(first["reach"])
            self.table = gr.HTML(first["table"], js_on_load=PICK_IN_TABLE, elem_id="points")
            self.pick_status = gr.HTML("", elem_id="pick-status")
            with gr.Row(elem_classes="downloads"):
                self.as_csv = gr.Button("Download CSV", size="sm", min_width=120, elem_id="csv")
                self.as_json = gr.Button("Download JSON", size="sm", min_width=120, elem_id="json")
            self._layers(first["layers"])
            self.protocol = gr.HTML(first["protocol"], elem_id="protocol")
        with gr.Row(elem_classes="downloads"):
            self.saved = gr.UploadButton(
                "Open a saved JSON", file_types=[".json"], size="sm", min_width=140, elem_id="open-saved"
            )
        self.file_status = gr.HTML("", elem_id="file-status")
        self._also()
        self.bytes = BytesFront(self.form)
        self.sensitivity = sections.Sensitivity(self.form)
        self.blocks = sections.Blocks()
        self.already = sections.Already(self.form, sources)
        self.claims = sections.Claims()
        self.more = sections.More()

    def _budget_controls(self, reach: str) -> None:
        self.form.add(
            "budget",
            gr.Slider(
                1,
                MOST_PERCENT,
                value=BUDGET,
                step=1,
                label="Budget: accept up to __% higher perplexity",
                elem_id="budget",
                min_width=260,
                scale=3,
            ),
            whole(1, MOST_PERCENT),
        )
        with gr.Column(scale=2, min_width=220):
            self.reach = gr.HTML(reach, elem_id="reach")
            self.limits = gr.Button("Measure at the budget limit", size="sm", elem_id="measure-limits")
            self.limits_status = gr.HTML("", elem_id="limits-status")

    def _layers(self, layers: Any) -> None:
        gr.HTML(
            "<h2>Layers of the point in focus</h2><p class='hint'>Output error: how far each layer's output moved, on "
            "a sample of its own inputs; 0% is unchanged, 100% as wrong as no output at all. The brightest layers are "
            "those that pruning hurts most.</p>"
        )
        self.form.add(
            "layers_by",
            gr.Radio(
                [(label, key) for key, (label, _) in QUANTITIES.items()],
                value="error",
                show_label=False,
                label="Colour by",
                container=False,
                elem_id="layers-by",
                elem_classes="chips",
            ),
            one_of(tuple(QUANTITIES)),
        )
        self.layers = _plot(layers, "layers-chart")

    def _also(self) -> None:
        with gr.Accordion("Also compare with", open=False, elem_id="also"), gr.Row():
            self.form.add(
                "int8",
                gr.Checkbox(
                    False,
                    label="Also compare with int8",
                    info="Half the bytes of 16-bit weights, nothing pruned. Measured by the next Run.",
                    min_width=200,
                    elem_id="int8",
                ),
                truth,
            )
            self.form.add(
                "smaller",
                gr.Textbox(
                    "",
                    label="A smaller dense model",
                    info="A Hub id, or a model on offer. Measured by the next Run.",
                    max_lines=1,
                    min_width=200,
                    elem_id="smaller",
                ),
                hub_id,
            )

    @property
    def shown(self) -> list[Any]:
        return [getattr(self, name) for name in SHOWN]

    def connect(self, page: Page, tab: gr.Tab) -> None:
        page.on_run(
            page.panel_run,
            form=self.form,
            outputs=[*self.shown, page.kept_run],
            make_job=lambda values: check_measure(values, page.sources),
            update=handlers.update,
        )
        source, budget, by = page.panel["source"], self.form["budget"], self.form["layers_by"]

        def follow(visitor: object, request: gr.Request, *values: Any) -> list[Any]:
            task = page.worker.last(owner_of(visitor, request), page.panel_run.view)
            return handlers.follow_model(task.outcome if task else None, *values)

        source.change(
            follow,
            [page.visitor, self.run, source, budget, by, page.focus],
            self.shown,
            concurrency_limit=4,
            **QUIET,
        )
        self._focus(page, by)
        self._budget(page, budget)
        self._changed(page)
        self._files(page, source, budget, by)
        for section in (self.sensitivity, self.blocks, self.already, self.claims, self.more):
            section.connect(page, self.form)
        self.bytes.connect(page, self.form, self.run, self.table)
        api.serve(page)

    def _focus(self, page: Page, by: Any) -> None:
        # Through the queue: an event beside it does not tell the page that a state has changed.
        for clicked in (self.table, self.clicks):
            clicked.click(
                handlers.picked,
                [self.run, page.focus],
                [page.focus, self.pick_status],
                concurrency_limit=8,
                **QUIET,
            )
        self.run.change(handlers.refocus, [self.run, page.focus], page.focus, concurrency_limit=8, **QUIET)
        # The table too: a run keeps its name while points come in, and the one in focus is seldom the first.
        gr.on(
            [page.focus.change, self.run.change, self.table.change, by.input, page.demo.load],
            handlers.focused,
            [self.run, by, page.focus],
            [self.mark, self.layers],
            queue=False,
            **QUIET,
        )

    def _budget(self, page: Page, budget: Any) -> None:
        budget.change(
            handlers.budget_moved,
            [self.run, budget],
            [self.curve, self.reach],
            trigger_mode="always_last",
            concurrency_limit=4,
            **QUIET,
        )
        self.clicks.release(handlers.line_dragged, self.run, budget, queue=False, **QUIET)
        names = [*page.panel.components, *self.form.components]
        go = gr.Checkbox(visible=False)

        def limits(run: object, percent: object, *values: object) -> list[Any]:
            asked = dict(zip(names, values, strict=True))
            return handlers.ask_limits(run, percent, asked["other_amounts"], asked, page.sources)

        self.limits.click(
            limits,
            [self.run, budget, *page.panel.components.values(), *self.form.components.values()],
            [page.panel["other_amounts"], self.limits_status, go],
            preprocess=False,
            concurrency_limit=4,
            **QUIET,
        ).then(None, go, None, js="(go) => { if (go) document.querySelector('#run').click(); }")

    def _changed(self, page: Page) -> None:
        names = [*page.panel.components, *self.form.components]

        def changed(run: object, *values: object) -> str:
            return handlers.changes(run, dict(zip(names, values, strict=True)), page.sources)

        own = [self.form[name] for name in ("int8", "smaller")]
        gr.on(
            [self.run.change, *(control.change for control in (*page.panel.components.values(), *own))],
            changed,
            [self.run, *page.panel.components.values(), *self.form.components.values()],
            self.changed,
            preprocess=False,
            trigger_mode="always_last",
            concurrency_limit=4,
            **QUIET,
        )

    def _files(self, page: Page, source: Any, budget: Any, by: Any) -> None:
        for kind, button in {"csv": self.as_csv, "json": self.as_json}.items():
            button.click(
                _file_of(kind), self.run, [self.file, self.file_status], concurrency_limit=4, **QUIET
            ).success(None, None, None, js=sections.PRESS_FILE)

        def report(run: object, percent: object, visitor: object, request: gr.Request) -> list[Any]:
            return handlers.report_of(run, percent, lambda setup: page.reported(setup, visitor, request))

        self.report.click(
            report,
            [self.run, budget, page.visitor],
            [self.file, self.file_status],
            concurrency_limit=4,
            **QUIET,
        ).success(None, None, None, js=sections.PRESS_FILE)
        self.saved.upload(
            handlers.open_saved,
            [self.saved, source, budget, by],
            [*self.shown, self.file_status],
            **QUIET,
        )


def _file_of(kind: str) -> Callable[[object], list[Any]]:
    return lambda run: handlers.file_of(run, kind)


def _plot(value: Any, elem_id: str) -> gr.Plot:
    """A chart, from a value of an update."""
    hidden = isinstance(value, dict) and not value.get("visible", True)
    drawn = None if hidden else value["value"] if isinstance(value, dict) else value
    return gr.Plot(drawn, visible=not hidden, show_label=False, container=False, elem_id=elem_id)
