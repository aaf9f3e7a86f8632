"""What do the bytes buy? Every measured point by the bytes of its weights, the front of those that no other beats, and
the best within so many bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from components.cost import report
from components.cost.byte_chart import COUNTED, chart, table
from components.cost.byte_places import Place, beside, check_other, names_of, places, told, why_not_beside
from components.cost.files import plain_name, saved_outcome
from components.cost.kept import keep, recorded_sweep, shown
from components.cost.outcome import Outcome, Row
from components.display.html import model_name
from components.display.number_format import bytes_text, number
from components.display.status_line import failed, ready
from components.page.form import Form
from components.page.link_settings import one_of, whole
from components.page.view import Page
from components.request_checks import whole as whole_number
from components.workspace.defaults import is_recorded
from wanda_core.errors import Refused
from wanda_core.experiments.front import best_within
from wanda_core.experiments.paired import compare_rows
from wanda_core.models.named_sources import gguf_file_of

LOST = {"perplexity": "perplexity", "bits": "bits per byte of text"}
"""What can be drawn as lost, and in words; the second compares models whatever their tokenizers."""
HALF = 50
"""Per cent of the dense model's bytes, at first."""
OLD = '<p class="label">These points were measured before bits per byte were: choose perplexity, or press Run.</p>'
BROKEN = '<p class="label">None of these points has a finite perplexity: the model is broken.</p>'
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
NOTHING = (
    '<p class="label">No point of this model has its bytes yet: tick 8 and 4 bits under Advanced, Rounded to, and '
    "press Run.</p>"
)


class BytesFront:
    """The chart with its controls."""

    def __init__(self, form: Form) -> None:
        with gr.Accordion("What do the bytes buy?", open=False, elem_id="bytes-fold") as self.fold:
            gr.HTML(
                "<p class='hint'>Zeros or fewer bits? Lower left is better: fewer bytes, lower perplexity. For points "
                "of your own tick 8 and 4 bits under Advanced, Rounded to, and press Run.</p>"
            )
            form.add(
                "counted",
                gr.Radio(
                    [(words, key) for key, words in COUNTED.items()],
                    value="packed",
                    label="Bytes of the weights",
                    elem_id="counted",
                    elem_classes="chips",
                ),
                one_of(tuple(COUNTED)),
            )
            form.add(
                "lost",
                gr.Radio(
                    [(words, key) for key, words in LOST.items()],
                    value="perplexity",
                    label="What is lost",
                    elem_id="lost",
                    elem_classes="chips",
                ),
                one_of(tuple(LOST)),
            )
            form.add(
                "most_bytes",
                gr.Slider(
                    5,
                    100,
                    value=HALF,
                    step=1,
                    label="At most __% of the dense model's bytes in 16 bits",
                    elem_id="most-bytes",
                ),
                whole(5, 100),
            )
            self.label = gr.HTML("", elem_id="bytes-label")
            self.best = gr.HTML("", elem_id="bytes-best")
            self.chart = gr.Plot(visible=False, show_label=False, container=False, elem_id="bytes-chart")
            self.table = gr.HTML("", elem_id="bytes-table")
            gr.HTML(
                "<p class='hint'>Another model beside this one: measure it on the same text, and add the JSON that was "
                "saved of it, here or by <code>wanda-lab compare --json</code>.</p>"
            )
            with gr.Row(elem_classes="downloads"):
                self.add = gr.UploadButton(
                    "Add another model", file_types=[".json"], size="sm", min_width=150, elem_id="add-model"
                )
                self.remove = gr.Button(
                    "Remove what was added", size="sm", min_width=150, visible=False, elem_id="remove-models"
                )
            self.status = gr.HTML("", elem_id="added-status")

    def connect(self, page: Page, form: Form, run: gr.State, points: gr.HTML) -> None:
        added = gr.State([])
        controls = [form["counted"], form["most_bytes"], form["lost"]]
        asked = [run, page.panel["source"], *controls, added]
        outputs = [self.label, self.best, self.chart, self.table]
        opened = gr.State(False)
        self.fold.expand(lambda *asked: [True, *values_of(*asked)], asked, [opened, *outputs], **QUIET)
        self.fold.collapse(lambda: False, None, opened, **QUIET)
        # The points' table too: a run keeps its name while points come in. Nothing is drawn that nobody sees.
        gr.on(
            [run.change, points.change, *(control.change for control in controls)],
            lambda seen, *asked: values_of(*asked) if seen else [gr.skip()] * len(outputs),
            [opened, *asked],
            outputs,
            trigger_mode="always_last",
            **QUIET,
        )
        more = [added, self.remove, form["lost"], self.status, *outputs]
        self.add.upload(add_model, [self.add, *asked], more, **QUIET | {"queue": True})
        self.remove.click(remove_models, asked, more, **QUIET | {"queue": True})


def values_of(
    run: object, source: object, counted: object, percent: object, lost: object, added: object
) -> list[Any]:
    """Label, sentence, chart and table."""
    hidden = gr.update(visible=False)
    try:
        most = whole_number("The bytes", percent, 5, 100)
        outcome = _drawn(run, source)
    except Refused as error:
        return ["", f'<p class="label">{escape(error.text)}</p>', hidden, ""]
    kind = counted if isinstance(counted, str) and counted in COUNTED else "packed"
    if outcome is None:
        return [NOTHING, "", hidden, ""]
    per_byte = lost == "bits"
    found = places(outcome, kind, per_byte)
    if not found:
        return [OLD if per_byte else NOTHING, "", hidden, ""]
    if not any(math.isfinite(place.loss) for place in found):
        return [report.section_label(outcome), BROKEN, hidden, ""]
    cap = most / 100 * found[0].bytes
    others = beside(added)
    notes = []
    for other, called in zip(others, names_of(others), strict=True):
        reason = why_not_beside(outcome, other, kind)
        if not per_byte:
            notes.append(f"{called} is drawn by bits per byte of text only")
        elif reason:
            notes.append(f"{called} is not drawn: {reason}")
        else:
            found += places(other, kind, per_byte, called)
            notes.append(told(other, called))
    return [
        report.section_label(outcome),
        sentence(found, cap, most, kind, model_name(outcome.protocol)),
        gr.update(value=chart(outcome, found, cap, per_byte), visible=True),
        table(found) + _origin(outcome) + "".join(f"<p class='hint'>{escape(note)}.</p>" for note in notes),
    ]


def _drawn(run: object, source: object) -> Outcome | None:
    """What is shown where its bytes were measured, else what is recorded.

    Raises:
        Refused: what is shown is no longer kept.
    """
    outcome = shown(run)
    if outcome is not None and len(places(outcome, "packed")) > 1:
        return outcome
    return recorded_sweep("bytes") if is_recorded(source) else None


def add_model(file: object, run: object, source: object, *controls: object) -> list[Any]:
    """Another model's measurement beside what is shown: its run, the controls that change, and the chart."""
    counted, percent, _, added = controls
    before = [other.run for other in beside(added)]
    try:
        other = saved_outcome(file)  # first: it deletes the upload
        outcome = _drawn(run, source)
        if outcome is None:
            raise Refused("there is nothing to draw it beside yet: press Run")
        check_other(outcome, [*beside(added), other])
    except Refused as error:
        return [before, gr.update(visible=bool(before)), gr.skip(), failed(error), *([gr.skip()] * 4)]
    keep(other)
    now = [*before, other.run]
    said = ready(f"{plain_name(other)} is drawn beside it, by bits per byte of text.")
    drawn_anew = values_of(run, source, counted, percent, "bits", now)
    return [now, gr.update(visible=True), "bits", said, *drawn_anew]


def remove_models(
    run: object, source: object, counted: object, percent: object, lost: object, added: object
) -> list[Any]:
    """The chart without the added models."""
    return [[], gr.update(visible=False), gr.skip(), "", *values_of(run, source, counted, percent, lost, [])]


def sentence(found: Sequence[Place], cap: float, percent: int, kind: str, model: str) -> str:
    """The best within so many bytes, and what this much text cannot tell from it.

    Args:
        found: the dense model first.
        model: what it is called, where others are drawn beside it.
    """
    within = f"Within {bytes_text(round(cap))} ({percent}% of the dense model's bytes, {COUNTED[kind]})"
    best = best_within(cap, [place for place in found if math.isfinite(place.loss)])
    if best is None:
        return f'<p class="verdict">{within} there is no measured point.</p>'
    several = any(place.model for place in found)
    dense = found[0]
    if several or best.loss != best.perplexity:
        of = f" {escape(model)}" if several else ""
        loss = f"{number(best.loss)} bits per byte of text, dense{of} {number(dense.loss)}"
    else:
        ratio = number(best.perplexity / dense.perplexity)
        loss = f"perplexity {number(best.perplexity)}, {ratio}&nbsp;× dense"
    said = (
        f"{within}, the best measured point is <b>{escape(best.label)}</b>: {loss}, {bytes_text(best.bytes)}."
    )
    others = [each for each in found if each.bytes <= cap and each is not best]
    alike = [escape(each.label) for each in others if _alike(best, each)]
    if alike:
        said += f" No difference that this much text can show: {', '.join(alike)}."
    windows = best.row.get("evaluation_sha256")
    if any(each.row.get("evaluation_sha256") != windows for each in others):
        said += " Between models there is no comparison window by window: a small difference may be chance."
    return f'<p class="verdict">{said}</p>'


def _alike(one: Place, other: Place) -> bool:
    """Whether the windows' losses leave open which of two points is better."""
    try:
        difference = compare_rows(_with_losses(one), _with_losses(other))
    except Refused:
        return False
    return difference.low is not None and not difference.certain


def _with_losses(place: Place) -> Row:
    """The place's row, with the losses of all its seeds together."""
    return place.row | {"window_losses": place.group.losses} if place.group else place.row


def _origin(outcome: Outcome) -> str:
    """That the weights were in few bits already, where they were."""
    setup = outcome.asked.setup if outcome.asked else None
    if outcome.origin == "here" and (setup is None or gguf_file_of(setup.source) is None):
        return ""
    if outcome.origin == "saved":
        return ""
    file = "a GGUF file in 4 bits (Q4_1)" if outcome.origin == "recorded" else "a GGUF file"
    return (
        f"<p class='hint'>The weights come from {file}: in 16 bits they are no more exact than there, and compress "
        "better than weights that were trained in 16.</p>"
    )
