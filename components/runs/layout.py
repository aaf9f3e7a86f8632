"""Runs: what this browser has measured, compared, noted, exported and imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from components.display.status_line import failed, ready
from components.runs.figures import runs_figure
from components.runs.report import runs_table
from components.uploads import uploaded
from components.workspace import run_folder as folder
from components.workspace import run_store as store
from components.workspace.run_summary import MOST_BYTES, Run, as_json, read_runs
from wanda_core.errors import Refused

NONE = "This browser has kept no run yet: press Run in the Lab, and it appears here."


def build(page: gr.Blocks) -> None:
    """Lay the page out and wire it."""
    gr.HTML(
        '<p class="hint">The last 50 runs of this browser; they never leave it unless you export them. Choose some to '
        "compare.</p>"
    )
    kept = gr.Textbox(visible="hidden")
    incoming = gr.Textbox(visible="hidden")
    status = gr.HTML(ready(NONE), elem_id="runs-status")
    chosen = gr.CheckboxGroup([], label="Runs", elem_id="runs-list")
    with gr.Row():
        note = gr.Textbox(label="Note", max_length=200, max_lines=1, scale=3, elem_id="run-note")
        save = gr.Button("Save note", min_width=100, elem_id="save-note")
        forget = gr.Button("Forget chosen", min_width=120, elem_id="forget-runs")
    with gr.Row():
        export = gr.Button("Export JSON", min_width=120, elem_id="export-runs")
        import_ = gr.UploadButton("Import JSON", file_types=[".json"], min_width=120, elem_id="import-runs")
    chart = gr.Plot(visible=False, show_label=False, container=False, elem_id="runs-chart")
    table = gr.HTML(elem_id="runs-table")
    quiet: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}

    def listed(text: str, before: list[str]) -> list[Any]:
        try:
            runs = _all(text)
        except Refused as error:
            return [failed(error), gr.skip(), gr.skip(), gr.skip()]
        ids = [run.id for run in runs]
        now = [each for each in before if each in ids] or ids[:1]
        said = ready(f"{len(runs)} runs are kept." if runs else NONE)
        choices = [(_label(run), run.id) for run in runs]
        return [said, gr.update(choices=choices, value=now), *compared(text, now)]

    def compared(text: str, chosen: list[str]) -> list[Any]:
        try:
            runs = [run for run in _all(text) if run.id in chosen]
        except Refused as error:
            return [gr.skip(), failed(error)]
        return [gr.update(value=runs_figure(runs), visible=bool(runs)), runs_table(runs)]

    def imported(file: Any) -> list[Any]:
        try:
            place = uploaded(file, (".json",))
            if place.stat().st_size > MOST_BYTES:
                raise Refused("this file of runs is larger than 1 MB: export fewer runs")
            text = _text(place)
            return [as_json(read_runs(text)), gr.skip()]
        except Refused as error:
            return ["", failed(error)]

    shown = [status, chosen, chart, table]
    page.load(None, None, kept, js=store.READ)
    kept.change(listed, [kept, chosen], shown, **quiet)
    chosen.input(compared, [kept, chosen], [chart, table], **quiet)
    save.click(None, [chosen, note], kept, js=store.NOTE, queue=False)
    forget.click(None, chosen, kept, js=store.FORGET, queue=False)
    export.click(None, chosen, None, js=store.EXPORT, queue=False)
    import_.upload(imported, import_, [incoming, status], **quiet).then(
        None, incoming, kept, js=store.MERGE, queue=False
    )


def _all(text: str) -> list[Run]:
    """The browser's runs, and those of the folder of one's own machine, each once."""
    own = read_runs(text)
    ids = {run.id for run in own}
    return [*own, *(run for run in folder.kept() if run.id not in ids)]


def _label(run: Run) -> str:
    return f"{run.name} · {len(run.points)} points"


def _text(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise Refused("this file cannot be read as text: choose a JSON file that was exported here") from None
    finally:
        place.unlink(missing_ok=True)
