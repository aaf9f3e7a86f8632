"""What lies below the points of Cost: calibration sensitivity, the scan of the blocks, a look at a model that was
pruned elsewhere, the paper's claims, and recorded sweeps. Each has a protocol of its own, and is never mixed with the
rows above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from components.cost import block_scan, figures, pruned_already, report
from components.cost.kept import recorded_sweep
from components.cost.outcome import Outcome
from components.cost.request import check_claims, check_sensitivity
from components.jobs import run_button
from components.page.form import Form
from components.page.link_settings import hub_id, number_list, some_of
from components.page.view import Page
from components.workspace.defaults import is_recorded, source_labels
from components.workspace.setup import TEXT_NAMES

PRESS_FILE = "() => setTimeout(() => document.querySelector('#file')?.click(), 300)"
"""Hands the file over that was just written."""
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
NOT_MEASURED = '<p class="label">Nothing recorded for this model: measure it with the button above.</p>'
NO_SWEEP = '<p class="label">Nothing recorded for this model: choose amounts and methods, and press Run.</p>'
OPENINGS = {"windows": "1 to 16 calibration windows", "texts": "other calibration texts"}


class Sensitivity:
    """The point in focus on several calibrations."""

    def __init__(self, form: Form) -> None:
        with gr.Accordion(
            "How much does the calibration matter?", open=False, elem_id="sensitivity"
        ) as self.fold:
            gr.HTML(
                '<p class="hint">Measures the point in focus on other calibration windows: more or fewer of them, '
                "drawn by other seeds, or of other texts.</p>"
            )
            with gr.Row():
                form.add(
                    "tried_samples",
                    gr.Textbox(
                        "1, 4, 16",
                        label="Numbers of calibration windows",
                        max_lines=1,
                        min_width=160,
                        elem_id="tried-samples",
                    ),
                    number_list,
                )
                form.add(
                    "tried_seeds",
                    gr.Textbox("0, 1", label="Seeds", max_lines=1, min_width=120, elem_id="tried-seeds"),
                    number_list,
                )
            form.add(
                "tried_texts",
                gr.CheckboxGroup(
                    [
                        (label, key)
                        for key, label in TEXT_NAMES.items()
                        if key not in ("own", "file", "dataset")
                    ],
                    value=[],
                    label="Calibration texts",
                    info="None: the point's own.",
                    elem_id="tried-texts",
                    elem_classes="chips",
                ),
                some_of([key for key in TEXT_NAMES if key not in ("own", "file", "dataset")]),
            )
            self.button = run_button.lay_out(
                "sensitivity",
                "Measure sensitivity",
                "Ready. Points measured before are not measured again.",
                run_id="measure-sensitivity",
                status_id="sensitivity-status",
            )
            self.gallery = gr.Radio(
                [(label, key) for key, label in OPENINGS.items()],
                label="Recorded",
                visible=False,
                elem_id="sensitivity-gallery",
            )
            self.chart = gr.Plot(
                visible=False, show_label=False, container=False, elem_id="sensitivity-chart"
            )
            self.table = gr.HTML("", elem_id="sensitivity-table")

    def connect(self, page: Page, form: Form) -> None:
        page.titles["sensitivity"] = "Calibration sensitivity"
        outputs = [self.chart, self.table]
        page.on_run(
            self.button,
            form=form,
            outputs=outputs,
            make_job=lambda values: check_sensitivity(values, page.sources),
            update=lambda outcome, values: self._values(outcome),
        )

        def opened(source: object) -> list[Any]:
            if not is_recorded(source):
                return [gr.update(visible=False), gr.update(visible=False), ""]
            return [gr.update(visible=True, value="windows"), gr.skip(), gr.skip()]

        source = page.panel["source"]
        gr.on([self.fold.expand, source.change], opened, source, [self.gallery, *outputs], **QUIET)

        def choose(name: object) -> list[Any]:
            known = isinstance(name, str) and name in OPENINGS
            return self._values(recorded_sweep(name)) if known else [gr.skip(), gr.skip()]

        self.gallery.change(choose, self.gallery, outputs, **QUIET)

    def _values(self, outcome: Outcome) -> list[Any]:
        pruned = sum(row["perplexity"] is not None for row in outcome.rows) > 1
        chart = (
            gr.update(value=figures.sensitivity(outcome), visible=True)
            if pruned
            else gr.update(visible=False)
        )
        return [chart, report.sensitivity(outcome)]


class Blocks:
    """The point in focus with each block pruned alone, and the allocation that comes of it."""

    def __init__(self) -> None:
        with gr.Accordion("Which blocks bear pruning?", open=False, elem_id="blocks-fold"):
            gr.HTML(
                "<p class='hint'>Prunes each block of the point in focus alone and measures the perplexity: where it "
                "rises most, less should be pruned. The sparsity that this gives every block is drawn above the bars, "
                "beside linear's where the panel asks for that: move its BETA.</p>"
            )
            self.button = run_button.lay_out(
                "blocks", "Scan the blocks", "Ready.", run_id="scan-blocks", status_id="blocks-status"
            )
            self.found = gr.State(None)
            self.chart = gr.Plot(visible=False, show_label=False, container=False, elem_id="blocks-chart")
            self.report = gr.HTML("", elem_id="blocks-report")

    def connect(self, page: Page, form: Form) -> None:
        page.titles["blocks"] = "The scan of the blocks"

        def shown(found: block_scan.Scanned, values: Any) -> list[Any]:
            beta = block_scan.beta_of(values.get("allocation"), values.get("beta"))
            chart = gr.update(value=block_scan.chart(found, beta), visible=True)
            return [found, chart, block_scan.report(found)]

        page.on_run(
            self.button,
            form=form,
            outputs=[self.found, self.chart, self.report],
            make_job=lambda values: block_scan.check_scan(values, page.sources),
            update=shown,
        )

        def moved(found: block_scan.Scanned | None, allocation: object, beta: object) -> Any:
            if found is None:
                return gr.skip()
            return block_scan.chart(found, block_scan.beta_of(allocation, beta))

        asked = [page.panel[name] for name in ("allocation", "beta")]
        gr.on(
            [each.change for each in asked],
            moved,
            [self.found, *asked],
            self.chart,
            trigger_mode="always_last",
            **QUIET,
        )


class Already:
    """Whether the selected model was pruned elsewhere, and what that cost."""

    def __init__(self, form: Form, sources: Sequence[str]) -> None:
        with gr.Accordion("Is this model pruned already?", open=False, elem_id="already"):
            gr.HTML(
                "<p class='hint'>For a model that was pruned elsewhere: choose it on the left. Counts its zeros layer "
                "by layer, finds the N:M pattern that holds, and measures perplexity and size.</p>"
            )
            labels = source_labels()
            offered = [(labels.get(source, Path(source).name), source) for source in sources]
            form.add(
                "pruned_from",
                gr.Dropdown(
                    [("not known", ""), *offered],
                    value="",
                    label="Pruned from (or type owner/name of one of the Hub)",
                    info="The dense model: then also how much worse this one is, and which kept weights changed.",
                    allow_custom_value=True,
                    elem_id="pruned-from",
                ),
                lambda words: words if words in labels else hub_id(words),
            )
            self.button = run_button.lay_out(
                "already", "Look at it", "Ready.", run_id="check-model", status_id="already-status"
            )
            self.model = gr.State(None)
            self.report = gr.HTML("", elem_id="already-report")
            self.chart = gr.Plot(visible=False, show_label=False, container=False, elem_id="already-chart")

    def connect(self, page: Page, form: Form) -> None:
        page.titles["already"] = "The look at the model"
        source, outputs = page.panel["source"], [self.model, self.report, self.chart]
        page.on_run(
            self.button,
            form=form,
            outputs=outputs,
            make_job=lambda values: pruned_already.check_model(values, page.sources),
            update=lambda found, values: self._values(found),
        )

        def follow(model: object, source: object) -> list[Any]:
            """What was found is of the model that was selected then."""
            return [gr.skip()] * 3 if model in (None, source) else [None, "", gr.update(visible=False)]

        source.change(follow, [self.model, source], outputs, **QUIET)

    def _values(self, found: pruned_already.Checked) -> list[Any]:
        chart = pruned_already.chart(found)
        drawn = gr.update(visible=False) if chart is None else gr.update(value=chart, visible=True)
        return [found.protocol["source"], pruned_already.report(found), drawn]


class Claims:
    """What the paper claims, and whether it holds on the selected model."""

    def __init__(self) -> None:
        with gr.Accordion("What the paper claims", open=False, elem_id="paper-claims") as self.fold:
            gr.HTML(
                "<p class='hint'>Eleven points on the model and text of the left, each claim with the published figure "
                "beside yours. Another model may well answer otherwise. SparseGPT is among them: it takes a while.</p>"
            )
            self.button = run_button.lay_out(
                "claims", "Check the claims", "Ready.", run_id="check-claims", status_id="claims-status"
            )
            self.table = gr.HTML("", elem_id="claims")

    def connect(self, page: Page, form: Form) -> None:
        page.titles["claims"] = "The paper's claims"
        page.on_run(
            self.button,
            form=form,
            outputs=[self.table],
            make_job=lambda values: check_claims(values, page.sources),
            update=lambda outcome, values: [report.claims(outcome)],
        )
        source = page.panel["source"]
        gr.on([self.fold.expand, source.change], _recorded_claims, source, self.table, **QUIET)


class More:
    """A recorded sweep of all methods, with a protocol of its own."""

    def __init__(self) -> None:
        with gr.Accordion(
            "All methods from 10 to 80%, 4:8 and 2:4 (recorded)", open=False, elem_id="more"
        ) as self.fold:
            self.chart = gr.Plot(visible=False, show_label=False, container=False, elem_id="more-chart")
            self.table = gr.HTML("", elem_id="more-table")

    def connect(self, page: Page, form: Form) -> None:
        source = page.panel["source"]
        gr.on([self.fold.expand, source.change], _recorded_amounts, source, [self.chart, self.table], **QUIET)


def _recorded_claims(source: object) -> str:
    return report.claims(recorded_sweep("claims")) if is_recorded(source) else NOT_MEASURED


def _recorded_amounts(source: object) -> list[Any]:
    if not is_recorded(source):
        return [gr.update(visible=False), NO_SWEEP]
    outcome = recorded_sweep("amounts")
    return [gr.update(value=figures.curve(outcome, None), visible=True), report.recorded_table(outcome)]
