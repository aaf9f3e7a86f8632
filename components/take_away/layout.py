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
from components.limits import SPACE
from components.page import api
from components.page.link_settings import one_of
from components.page.view import Page, View
from components.recipe.request import named_focus
from components.take_away import push
from components.take_away.job import FORMATS, Export, Exported, label_of, recipe_for
from components.workspace.focus import Focus
from wanda_core.errors import Refused
from wanda_core.export.kinds import kind_named


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
                [(label_of(choice), choice) for choice in FORMATS],
                value="folder",
                label="Format",
                elem_id="kind",
            ),
            one_of(tuple(FORMATS)),
        )
        self.button = run_button.lay_out(
            self.key, "Export", "No export yet.", run_id="export-run", status_id="export-status"
        )
        self.contents = gr.HTML(elem_id="export-contents")
        self.download = gr.DownloadButton("Download", visible=False, elem_id="download")
        self.file = gr.State()
        if SPACE:  # signing in exists only on a Space
            push.lay_out(self.file)

    def connect(self, page: Page, tab: gr.Tab) -> None:
        def job(values: Values) -> Export:
            focus, choice = values.get("focus"), values.get("kind")
            if not isinstance(focus, Focus):
                raise Refused("choose a point first: click one in Cost")
            if not isinstance(choice, str) or choice not in FORMATS:
                raise Refused("choose the format from the list")
            recipe = recipe_for(focus.recipe, choice)
            return Export(focus.setup, recipe, FORMATS[choice][0], self.download.GRADIO_CACHE)

        page.on_run(
            self.button,
            form=self.form,
            outputs=[self.contents, self.download, self.file],
            make_job=job,
            update=_values,
        )

        async def export(
            source: str = page.sources[0],
            method: str = "wanda",
            amount: str = "50",
            kind: str = "folder",
            bits: int = 16,
            calibration: str = "",
            own_text: str = "",
            samples: int = 4,
            length: int = 256,
            recovery: str = "none",
            order: str = "none",
        ) -> tuple[gr.FileData, dict[str, Any]]:
            """Prune a model and give it as a zip file, read back and compared to the bit.

            Args:
                source: a model on offer, or a Hub id.
                method: of the pruning.
                amount: per cent, such as 50, or a pattern, such as 2:4.
                kind: folder, packed, gguf or masks.
                bits: that kept weights are rounded to: 16 (F16 in a GGUF file), 8 (Q8_0) or 4 (Q4_0).
                calibration: stories, pydoc, wikitext2, c4 or own; empty: the model's own.
                own_text: the text for own.
                samples: calibration windows.
                length: tokens of a window.
                recovery: none, blocks or model: kept weights trained block by block or all together, zeros kept.
                order: none, or channels: an order of channels under which an N:M amount keeps more.

            Returns:
                The file, and what it holds: names and bytes.
            """

            def make() -> Export:
                values = api.panel_values(
                    source,
                    calibration=calibration,
                    own_text=own_text,
                    samples=samples,
                    length=length,
                    recovery=recovery,
                    order=order,
                    bits=[bits],
                )
                if isinstance(kind, str):
                    kind_named(kind)
                focus = named_focus(f"{method}-{amount}", values, page.sources)
                return job({"focus": focus, "kind": kind if kind in FORMATS else f"{kind}-{bits}"})

            made = await api.outcome_of(page.worker, make)
            return gr.FileData(path=made.file), {"bytes": made.bytes, "holds": dict(made.holds)}

        gr.api(export, api_name="export", concurrency_limit=None)


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
