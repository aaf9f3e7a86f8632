"""The view How far: how much can go, by which method, within which budget? Sweeps, and the paper's claims."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.display.perplexity_chart import perplexity_figure
from components.display.status_line import failed, ready
from components.jobs.queue import Worker
from components.jobs.run_button import on_click
from components.jobs.runner import ZERO_GPU
from components.page.link_settings import Setting, numbers, one_of, parts, some_of
from components.recipe.request import PATTERNS
from components.sweep import figures, report
from components.sweep.job import TEXT_NAMES, Swept
from components.sweep.report import rows
from components.sweep.request import check_claims, check_ends, check_sweep
from components.sweep.row_selection import has_sensitivity, of_first_calibration
from components.sweep.saved_sweeps import result_files, saved_sweep
from components.sweep.shown_sweeps import GALLERY, recorded, shown_store, swept_named
from components.workspace.setup import TEXTS
from wanda_core.errors import Refused


def far_settings(inputs: Sequence[gr.components.Component]) -> list[Setting]:
    """Those of the view How far."""
    sparsities, patterns, int8, samples, seeds, texts, _ = inputs
    return [
        Setting(
            "sparsities",
            sparsities,
            lambda words: [int(one_of(tuple(map(str, PERCENT)))(part)) for part in parts(words)],
        ),
        Setting("patterns", patterns, some_of(PATTERNS[1:])),
        Setting("int8", int8, lambda words: one_of(("true", "false"))(words) == "true"),
        Setting("sweep-samples", samples, numbers),
        Setting("sweep-seeds", seeds, numbers),
        Setting("sweep-texts", texts, some_of([key for key in TEXTS if key != "own"] + ["random"])),
    ]


PERCENT = tuple(range(10, 100, 10))


BUDGET = 10
"""Per cent of perplexity above the dense model's."""


@dataclass
class FarView:
    """The components of the view; `inputs` in the order of `request.check_sweep` after those of the panel."""

    inputs: list[gr.components.Component]
    sweep: gr.Button
    ends: gr.Button
    claims: gr.Button
    stop: gr.Button
    stop_claims: gr.Button
    status_line: gr.HTML
    claims_status: gr.HTML
    budget: gr.Slider
    key: gr.State
    shown: list[gr.components.Component]
    """Takes the values of `update` after the key."""
    claims_table: gr.HTML
    reach: gr.HTML
    saved: gr.UploadButton
    gallery: gr.Dropdown


def build() -> FarView:
    """Lay the view out, filled with a recorded sweep."""
    gr.HTML(
        '<p class="hint">Measures the methods, text and windows chosen on the left at several amounts, the cheapest '
        "first, and says how far each method goes within a budget.</p>"
    )
    sparsities = gr.CheckboxGroup(
        [(f"{p}%", p) for p in PERCENT], value=[30, 50, 60, 70, 80], label="Sparsities", elem_id="sparsities"
    )
    with gr.Row():
        patterns = gr.CheckboxGroup(["2:4", "4:8"], value=[], label="Patterns", elem_id="patterns")
        int8 = gr.Checkbox(
            False,
            label="Beside them: the same model in int8",
            info="Half the bytes of 16-bit weights, nothing removed.",
            elem_id="int8",
        )
    with gr.Accordion("How much does the calibration matter?", open=False, elem_id="sensitivity"):
        samples = gr.Textbox("", label="Calibration windows", info="Such as 1, 4, 16; empty: as on the left.")
        seeds = gr.Textbox("", label="Seeds", info="Such as 0, 1, 2: other windows of the same text.")
        texts = gr.CheckboxGroup(
            [(label, key) for key, label in TEXT_NAMES.items()],
            value=[],
            label="Calibration texts",
            info="None: the one on the left.",
        )
        smaller = gr.Textbox(
            "",
            label="A smaller dense model to compare with",
            info="A Hub id, or a model on offer.",
            elem_id="smaller",
        )
    with gr.Row():
        sweep = gr.Button("Sweep", variant="primary", min_width=100, elem_id="sweep")
        stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="stop-sweep")
    status_line = gr.HTML(
        ready("Ready." if ZERO_GPU else "Ready. Points measured before are not measured again."),
        elem_id="sweep-status",
    )
    with gr.Row():
        gallery = gr.Dropdown(
            [(label, key) for key, label in GALLERY.items()],
            value="amounts",
            label="Recorded sweeps",
            min_width=200,
            elem_id="gallery",
        )
        saved = gr.UploadButton(
            "Open a saved sweep (JSON)", file_types=[".json"], min_width=200, elem_id="open-saved"
        )
    first = recorded("amounts")
    key = gr.State("amounts")
    values = update(first)[1:]
    label = gr.HTML(values[0], elem_id="sweep-label")
    budget = gr.Slider(
        1,
        200,
        value=BUDGET,
        step=1,
        label="Budget: how much worse than dense may it get? (% of perplexity)",
        elem_id="budget",
    )
    reach = gr.HTML(report.reach(first, BUDGET), elem_id="reach")
    ends = gr.Button("Measure where the budget ends", elem_id="measure-ends")
    curves = gr.Plot(values[1], show_label=False, container=False, elem_id="sweep-chart")
    sensitivity = gr.Plot(
        values[2]["value"], visible=False, show_label=False, container=False, elem_id="sensitivity-chart"
    )
    table = gr.HTML(values[3], elem_id="sweep-table")
    with gr.Row():
        as_csv = gr.DownloadButton("Download CSV", value=values[4], elem_id="csv")
        as_json = gr.DownloadButton("Download JSON", value=values[5], elem_id="json")
    gr.HTML(
        "<h3>What the paper claims</h3><p class='hint'>Eleven points on the model and text of the left, each claim "
        "with the published figure beside yours. Another model may well answer otherwise.</p>"
    )
    with gr.Row():
        claims = gr.Button("Check the claims", min_width=100, elem_id="check-claims")
        stop_claims = gr.Button("Stop", interactive=False, min_width=100, elem_id="stop-claims")
    claims_status = gr.HTML(ready("SparseGPT is among them: it takes a while."), elem_id="claims-status")
    claims_table = gr.HTML(report.claims(recorded("claims")), elem_id="claims")
    return FarView(
        [sparsities, patterns, int8, samples, seeds, texts, smaller],
        sweep,
        ends,
        claims,
        stop,
        stop_claims,
        status_line,
        claims_status,
        budget,
        key,
        [label, curves, sensitivity, table, as_csv, as_json],
        claims_table,
        reach,
        saved,
        gallery,
    )


def connect(worker: Worker, view: FarView, panel_inputs: Sequence[Any], sources: Sequence[str]) -> None:
    """Let sweep, claims, budget, gallery and saved files work."""
    outputs = [view.key, *view.shown]
    on_click(
        worker,
        run=view.sweep,
        stop=view.stop,
        status_line=view.status_line,
        inputs=[*panel_inputs, *view.inputs],
        outputs=outputs,
        make_job=lambda *values: check_sweep(sources, *values),
        update=update,
        api_name="sweep",
    )
    on_click(
        worker,
        run=view.ends,
        stop=view.stop,
        status_line=view.status_line,
        inputs=[view.key, view.budget],
        outputs=outputs,
        make_job=lambda key, percent: check_ends(swept_named(key), _budget(percent)),
        update=update,
        api_name="ends",
    )
    on_click(
        worker,
        run=view.claims,
        stop=view.stop_claims,
        status_line=view.claims_status,
        inputs=list(panel_inputs),
        outputs=[view.claims_table],
        make_job=lambda *values: check_claims(sources, *values),
        update=lambda swept: [report.claims(swept)],
        api_name="claims",
    )

    def reach(key: object, percent: object) -> str:
        try:
            return report.reach(swept_named(key), _budget(percent))
        except Refused as error:
            return failed(error)

    for event in (view.key.change, view.budget.release, view.budget.change):
        event(reach, [view.key, view.budget], view.reach, queue=False, show_progress="hidden", api_name=False)

    def choose(name: object) -> list[Any]:
        if not isinstance(name, str) or name not in GALLERY:
            return [gr.skip()] * len(outputs)
        return update(recorded(name), name)

    view.gallery.input(choose, view.gallery, outputs, queue=False, api_visibility="private")

    def open_saved(file: object) -> list[Any]:
        try:
            return [ready("This is what the file holds."), *update(saved_sweep(file))]
        except Refused as error:
            return [failed(error), *([gr.skip()] * len(outputs))]

    view.saved.upload(open_saved, view.saved, [view.status_line, *outputs], api_visibility="private")


def update(swept: Swept, key: str = "") -> list[Any]:
    """Values for the key and `FarView.shown`."""
    if key not in GALLERY:
        key = secrets.token_urlsafe(16)
        own = 4 * len(swept.asked.setup.own_text) if swept.asked else 0
        shown_store.put(key, swept, 1000 + 600 * len(swept.rows) + own)
    as_csv, as_json = result_files(swept, key)
    return [
        key,
        report.label(swept),
        perplexity_figure(of_first_calibration(swept.rows)),
        gr.update(value=figures.sensitivity_figure(swept.rows), visible=has_sensitivity(swept.rows)),
        rows(swept),
        as_csv,
        as_json,
    ]


def _budget(percent: object) -> float:
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 < percent <= 200:
        raise Refused("the budget is a number of per cent, 1 to 200")
    return float(percent)
