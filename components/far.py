"""The view How far: how much can go, by which method, within which budget? Sweeps, and the paper's claims."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from components import far_tables, figures, follow, status
from components.engine import ZERO_GPU
from components.far_check import check_claims, check_ends, check_sweep, saved_sweep
from components.settings import ASSETS, LIMITS
from components.store import Store
from components.sweeping import TEXT_NAMES, Swept
from components.worker import Worker
from wanda_core.errors import Refused

GALLERY = {
    "amounts": "All methods, 10 to 80%, 4:8, 2:4",
    "windows": "1 to 16 calibration windows",
    "texts": "Calibrated on other texts",
    "claims": "The paper's claims",
}
PERCENT = tuple(range(10, 100, 10))
BUDGET = 10
"""Per cent of perplexity above the dense model's."""

_shown: Store[Swept] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""What visitors look at, by a random key that their page holds: the budget's slider needs the rows again."""


@dataclass
class FarView:
    """The components of the view; `inputs` in the order of `far_check.check_sweep` after those of the panel."""

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
        status.ready("Ready." if ZERO_GPU else "Ready. Points measured before are not measured again."),
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
    reach = gr.HTML(far_tables.reach(first, BUDGET), elem_id="reach")
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
    claims_status = gr.HTML(
        status.ready("SparseGPT is among them: it takes a while."), elem_id="claims-status"
    )
    claims_table = gr.HTML(far_tables.claims(recorded("claims")), elem_id="claims")
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
    follow.on_click(
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
    follow.on_click(
        worker,
        run=view.ends,
        stop=view.stop,
        status_line=view.status_line,
        inputs=[view.key, view.budget],
        outputs=outputs,
        make_job=lambda key, percent: check_ends(_swept(key), _budget(percent)),
        update=update,
        api_name="ends",
    )
    follow.on_click(
        worker,
        run=view.claims,
        stop=view.stop_claims,
        status_line=view.claims_status,
        inputs=list(panel_inputs),
        outputs=[view.claims_table],
        make_job=lambda *values: check_claims(sources, *values),
        update=lambda swept: [far_tables.claims(swept)],
        api_name="claims",
    )

    def reach(key: object, percent: object) -> str:
        try:
            return far_tables.reach(_swept(key), _budget(percent))
        except Refused as error:
            return status.failed(str(error))

    for event in (view.key.change, view.budget.release, view.budget.change):
        event(reach, [view.key, view.budget], view.reach, queue=False, show_progress="hidden", api_name=False)

    def choose(name: object) -> list[Any]:
        if not isinstance(name, str) or name not in GALLERY:
            return [gr.skip()] * len(outputs)
        return update(recorded(name), name)

    view.gallery.input(choose, view.gallery, outputs, queue=False, api_visibility="private")

    def open_saved(file: object) -> list[Any]:
        try:
            return [status.ready("This is what the file holds."), *update(saved_sweep(file))]
        except Refused as error:
            return [status.failed(str(error)), *([gr.skip()] * len(outputs))]

    view.saved.upload(open_saved, view.saved, [view.status_line, *outputs], api_visibility="private")


@cache
def recorded(name: str) -> Swept:
    """A recorded sweep, by its name in `GALLERY`."""
    content = json.loads((ASSETS / "recorded" / f"sweep-{name}.json").read_text(encoding="utf-8"))
    return Swept(content["protocol"], content["rows"], len(content["rows"]), origin="recorded")


def update(swept: Swept, key: str = "") -> list[Any]:
    """Values for the key and `FarView.shown`."""
    if key not in GALLERY:
        key = secrets.token_urlsafe(16)
        own = 4 * len(swept.asked.setup.own_text) if swept.asked else 0
        _shown.put(key, swept, 1000 + 600 * len(swept.rows) + own)
    as_csv, as_json = _files(swept, key)
    return [
        key,
        far_tables.label(swept),
        figures.perplexity_figure(far_tables.of_first_calibration(swept.rows)),
        gr.update(
            value=figures.sensitivity_figure(swept.rows), visible=far_tables.has_sensitivity(swept.rows)
        ),
        far_tables.rows(swept),
        as_csv,
        as_json,
    ]


def _swept(key: object) -> Swept:
    swept = None
    if isinstance(key, str):
        swept = recorded(key) if key in GALLERY else _shown.get(key)
    if swept is None:
        raise Refused("these results are no longer kept: sweep again, or open the saved file")
    return swept


def _budget(percent: object) -> float:
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 < percent <= 200:
        raise Refused("the budget is a number of per cent, 1 to 200")
    return float(percent)


def _files(swept: Swept, key: str) -> tuple[str, str]:
    """The rows as CSV and JSON, as `compare` writes them, where the server may hand them out."""
    from wanda_core.files import write_whole
    from wanda_core.tables import to_csv, to_json

    folder = Path(get_upload_folder()) / "sweeps" / key
    _forget_old(folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    rows = far_tables.tidy(swept.rows)
    write_whole(folder / "wanda-lab.csv", to_csv(rows))
    write_whole(folder / "wanda-lab.json", to_json(swept.protocol, rows))
    return str(folder / "wanda-lab.csv"), str(folder / "wanda-lab.json")


def _forget_old(folder: Path) -> None:
    """Drop files whose results are no longer kept; the recorded ones stay."""
    for each in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # another visitor's request does the same
            if each.name not in GALLERY and time.time() - each.stat().st_mtime > LIMITS.result_seconds:
                shutil.rmtree(each, ignore_errors=True)
