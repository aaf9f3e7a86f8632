"""The pruned model to take away."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components.display.number_format import bytes_text
from components.jobs import run_button
from components.jobs.run_button import Values
from components.limits import HOSTED
from components.page.link_settings import one_of
from components.page.view import Page, View
from components.take_away import push
from components.take_away.job import KINDS, Export, Exported
from components.workspace.focus import Focus
from wanda_core.errors import Refused


class TakeAway(View):
    """Exports the point in focus."""

    key = "take-away"
    title = "Take away"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML(
            '<p class="hint">Exports the point in focus with its recipe, masks, calibration tokens and a model card. '
            "It is read back and compared to the bit before it is offered.</p>"
        )
        self.form.add(
            "kind",
            gr.Radio(
                [(label, key) for key, label in KINDS.items()], value="folder", label="Format", elem_id="kind"
            ),
            one_of(tuple(KINDS)),
        )
        self.button = run_button.lay_out(
            self.key, "Export", "No export yet.", run_id="export-run", status_id="export-status"
        )
        self.contents = gr.HTML(elem_id="export-contents")
        self.download = gr.DownloadButton("Download", visible=False, elem_id="download")
        self.file = gr.State()
        if HOSTED:  # signing in exists only on a Space
            push.lay_out(self.file)

    def connect(self, page: Page, tab: gr.Tab) -> None:
        def job(values: Values) -> Export:
            focus, kind = values.get("focus"), values.get("kind")
            if not isinstance(focus, Focus):
                raise Refused("choose a point first: click one in Cost")
            if not isinstance(kind, str) or kind not in KINDS:
                raise Refused("choose the format from the list")
            return Export(focus.setup, focus.recipe, kind, self.download.GRADIO_CACHE)

        page.on_run(
            self.button,
            form=self.form,
            outputs=[self.contents, self.download, self.file],
            make_job=job,
            update=_values,
        )


def _values(outcome: Exported, values: Values) -> list[Any]:
    rows = "".join(
        f"<tr><th>{escape(file)}</th><td>{bytes_text(size)}</td></tr>" for file, size in outcome.holds
    )
    table = (
        '<div class="scroll" tabindex="0"><table class="results"><thead><tr><th>File</th><th>Size</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    button = gr.DownloadButton(
        f"Download {Path(outcome.file).name} ({bytes_text(outcome.bytes)})", value=outcome.file, visible=True
    )
    return [table, button, outcome.file]
