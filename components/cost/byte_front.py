"""What do the bytes buy? Every measured point by the bytes of its weights, the front of those that no other beats, and
the best within so many bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from components.cost import report
from components.cost.kept import recorded_sweep, shown
from components.cost.outcome import Group, Outcome, Row, groups
from components.cost.verdict import paired
from components.display.chart_style import COLOURS, INK, colour_of, drawn, log_axis, new_figure
from components.display.html import model_name
from components.display.names import contender, is_reference, name, point
from components.display.number_format import bytes_text, number
from components.page.form import Form
from components.page.link_settings import one_of, whole
from components.page.view import Page
from components.request_checks import whole as whole_number
from components.workspace.defaults import is_recorded
from wanda_core.errors import Refused
from wanda_core.experiments.front import Bought, beaten_by, best_within, front
from wanda_core.models.named_sources import gguf_file_of

COUNTED = {
    "packed": "without zeros: kept values and a bitmask",
    "deflated": "compressed, as in a zip",
    "file": "as a file, zeros and all",
}
"""Bytes that can be counted, and in words."""
SYMBOLS = {16: "circle", 8: "square", 4: "diamond"}
OWN_FILE = "Dense, its own GGUF file"
HALF = 50
"""Per cent of the dense model's bytes, at first."""
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
NOTHING = (
    '<p class="label">No point of this model has its bytes yet: tick 8 and 4 bits under Advanced, Rounded to, and '
    "press Run.</p>"
)


@dataclass(frozen=True)
class Place(Bought):
    """A point with what is drawn of it."""

    row: Row
    ends: tuple[float, float] | None
    group: Group | None
    """None for the dense model."""


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

    def connect(self, page: Page, form: Form, run: gr.State, points: gr.HTML) -> None:
        asked = [run, page.panel["source"], form["counted"], form["most_bytes"]]
        outputs = [self.label, self.best, self.chart, self.table]
        opened = gr.State(False)
        self.fold.expand(lambda *asked: [True, *values_of(*asked)], asked, [opened, *outputs], **QUIET)
        self.fold.collapse(lambda: False, None, opened, **QUIET)
        # The points' table too: a run keeps its name while points come in. Nothing is drawn that nobody sees.
        gr.on(
            [run.change, points.change, form["counted"].change, form["most_bytes"].change],
            lambda seen, *asked: values_of(*asked) if seen else [gr.skip()] * len(outputs),
            [opened, *asked],
            outputs,
            trigger_mode="always_last",
            **QUIET,
        )


def values_of(run: object, source: object, counted: object, percent: object) -> list[Any]:
    """Label, sentence, chart and table."""
    hidden = gr.update(visible=False)
    try:
        most = whole_number("The bytes", percent, 5, 100)
        outcome = shown(run)
    except Refused as error:
        return ["", f'<p class="label">{escape(error.text)}</p>', hidden, ""]
    kind = counted if isinstance(counted, str) and counted in COUNTED else "packed"
    if outcome is None or len(places(outcome, kind)) < 2:
        outcome = recorded_sweep("bytes") if is_recorded(source) else None
    if outcome is None:
        return [NOTHING, "", hidden, ""]
    found = places(outcome, kind)
    cap = most / 100 * found[0].bytes
    return [
        report.section_label(outcome),
        sentence(found, cap, most, kind),
        gr.update(value=chart(outcome, found, cap), visible=True),
        table(found) + _origin(outcome),
    ]


def places(outcome: Outcome, kind: str) -> list[Place]:
    """The dense model, the same in fewer bits, the file that it came from, and every pruned point whose bytes were
    measured."""
    column = f"bytes_{kind}"
    dense = outcome.dense
    if dense is None or not dense.get(column):
        return []
    found = [
        _of_row(row, column)
        for row in (dense, *(row for row in outcome.rows if is_reference(row) and row is not dense))
        if row.get(column) and row["perplexity"]
    ]
    setup = outcome.asked.setup if outcome.asked else None
    file = gguf_file_of(setup.source) if setup and outcome.origin == "here" else None
    if file is not None and file.is_file():
        own = _of_row(dense, column)
        found.append(Place(OWN_FILE, file.stat().st_size, own.perplexity, dense, own.ends, None))
    for group in groups(outcome.rows):
        size = group.mean(column)
        if size and group.perplexity is not None:
            found.append(
                Place(point(group.first), round(size), group.perplexity, group.first, group.ends, group)
            )
    return found


def _of_row(row: Row, column: str) -> Place:
    ends = (row["perplexity_low"], row["perplexity_high"]) if row["perplexity_low"] else None
    return Place(point(row), row[column], row["perplexity"], row, ends, None)


def sentence(found: Sequence[Place], cap: float, percent: int, kind: str) -> str:
    """The best within so many bytes, and what this much text cannot tell from it."""
    within = f"Within {bytes_text(round(cap))} ({percent}% of the dense model's bytes, {COUNTED[kind]})"
    best = best_within(cap, found)
    if not isinstance(best, Place):
        return f'<p class="verdict">{within} there is no measured point.</p>'
    said = (
        f"{within}, the best measured point is <b>{escape(best.label)}</b>: perplexity {number(best.perplexity)}, "
        f"{number(best.perplexity / found[0].perplexity)}&nbsp;× dense, {bytes_text(best.bytes)}."
    )
    alike = [
        escape(each.label) for each in found if each.bytes <= cap and each is not best and _alike(best, each)
    ]
    if alike:
        said += f" No difference that this much text can show: {', '.join(alike)}."
    return f'<p class="verdict">{said}</p>'


def _alike(one: Place, other: Place) -> bool:
    if one.group is None:
        return other.group is not None and _alike(other, one)
    difference = paired(one.group, other.group or other.row)
    return difference is not None and not difference.certain


def chart(outcome: Outcome, found: Sequence[Place], cap: float) -> PlotData:
    """Perplexity against bytes; the front as a line, and where the bytes end."""
    figure = new_figure(height=420)
    best = front(found)
    figure.add_scatter(
        x=[each.bytes / 1e6 for each in best],
        y=[each.perplexity for each in best],
        mode="lines",
        line={"color": INK, "width": 2, "dash": "dash", "shape": "hv"},
        name="beaten by none",
        hoverinfo="skip",
    )
    for label in dict.fromkeys(_in_sixteen(each) for each in found):
        own = [each for each in found if _in_sixteen(each) == label]
        figure.add_scatter(
            x=[each.bytes / 1e6 for each in own],
            y=[each.perplexity for each in own],
            mode="markers",
            name=name(label),
            marker={
                "symbol": [SYMBOLS.get(each.row["bits"] or 16, "circle") for each in own],
                "size": 11,
                "color": COLOURS["dense"] if own[0].group is None else colour_of(label),
            },
            text=[_hover(each, found) for each in own],
            hovertemplate="%{text}<extra></extra>",
        )
    for bits, symbol in SYMBOLS.items():  # what the symbols mean, whoever's they are
        if any(each.row["bits"] == bits for each in found):
            grey = {"symbol": f"{symbol}-open", "size": 10, "color": INK, "line": {"width": 2}}
            figure.add_scatter(x=[None], y=[None], mode="markers", name=f"{bits} bits", marker=grey)
    figure.add_vline(x=cap / 1e6, line={"color": "#b38f00", "width": 2, "dash": "dash"})
    values = [each.perplexity for each in found]
    figure.update_yaxes(
        title_text="perplexity (log scale)", **log_axis(min(values) * 0.92, min(max(values), 1e4) * 1.1)
    )
    figure.update_xaxes(title_text="MB of weights", rangemode="tozero")
    title = f"What the bytes of {model_name(outcome.protocol)} buy"
    said = "; ".join(
        f"{each.label}: {bytes_text(each.bytes)}, perplexity {number(each.perplexity)}" for each in best
    )
    protocol = outcome.protocol
    source = f"{protocol['windows']} windows of {protocol['eval_length']} tokens of {protocol['evaluation']}"
    return drawn(figure, f"bytes-{model_name(protocol)}", title, source, f"{title}. The front: {said}")


def _in_sixteen(place: Place) -> str:
    """What was pruned and how, whatever its bits."""
    return contender(place.row | {"bits": 16})


def _hover(place: Place, found: Sequence[Place]) -> str:
    lines = [f"<b>{place.label}</b>", f"perplexity {number(place.perplexity)}"]
    if place.ends:
        lines[-1] += f" ({number(place.ends[0])} to {number(place.ends[1])})"
    lines.append(f"{bytes_text(place.bytes)}")
    by = beaten_by(place, found)
    lines.append("on the front" if by is None else f"beaten by {by.label}")
    return "<br>".join(lines)


def table(found: Sequence[Place]) -> str:
    """Every point with its three kinds of bytes, the fewest first, and what beats it."""
    body = ""
    for place in sorted(found, key=lambda each: (each.bytes, each.perplexity)):
        cells = (bytes_text(round(_size(place, each) or 0)) for each in COUNTED)
        by = beaten_by(place, found)
        body += (
            f"<tr><th scope=row>{escape(place.label)}</th><td>{number(place.perplexity)}</td>"
            f"{''.join(f'<td>{cell}</td>' for cell in cells)}"
            f"<td>{'<b>on the front</b>' if by is None else f'beaten by {escape(by.label)}'}</td></tr>"
        )
    heads = ("Point", "Perplexity", "Without zeros", "Compressed", "As a file", "By the bytes above")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Bytes of the points"><table class="results">'
        f"<thead><tr>{''.join(f'<th scope=col>{head}</th>' for head in heads)}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
        "<p class='hint'>Layers in the point's bits; embeddings and head in 16 bits, norms in 32, all counted. Without "
        "zeros: kept values, a scale for 32 weights in 8 and 4 bits, and a bit for every weight. Compressed: deflate, "
        "as in a zip, measured on evenly spaced rows of every matrix. Perplexities compare within one tokenizer "
        "only.</p>"
    )


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


def _size(place: Place, kind: str) -> float | None:
    if place.label == OWN_FILE:
        return place.bytes
    column = f"bytes_{kind}"
    return place.group.mean(column) if place.group else place.row.get(column)
