"""The chart of what the bytes buy, and the table below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from gradio.components.plot import PlotData

from components.cost.byte_places import Place, size_of
from components.cost.outcome import Outcome
from components.display.chart_style import COLOURS, INK, colour_of, drawn, log_axis, new_figure
from components.display.html import model_name
from components.display.names import name
from components.display.number_format import bytes_text, number
from wanda_core.experiments.front import beaten_by, front

COUNTED = {
    "packed": "without zeros: kept values and a bitmask",
    "deflated": "compressed, as in a zip",
    "file": "as a file, zeros and all",
}
"""Bytes that can be counted, and in words."""
MARKS = ("", "-open", "-open-dot")
"""Of what is shown, and of the models beside it."""
SYMBOLS = {16: "circle", 8: "square", 4: "diamond"}


def chart(outcome: Outcome, found: Sequence[Place], cap: float, per_byte: bool) -> PlotData:
    """What is lost against bytes; the front as a line, and where the bytes end."""
    figure = new_figure(height=420)
    found = [each for each in found if math.isfinite(each.loss)]
    best, beaten = front(found), beaten_by(found)
    figure.add_scatter(
        x=[each.bytes / 1e6 for each in best],
        y=[each.loss for each in best],
        mode="lines",
        line={"color": INK, "width": 2, "dash": "dash", "shape": "hv"},
        name="beaten by none",
        hoverinfo="skip",
    )
    models = list(dict.fromkeys(each.model for each in found))
    for model, curve in dict.fromkeys((each.model, each.curve) for each in found):
        own = [at for at, each in enumerate(found) if (each.model, each.curve) == (model, curve)]
        mark = MARKS[models.index(model)]
        figure.add_scatter(
            x=[found[at].bytes / 1e6 for at in own],
            y=[found[at].loss for at in own],
            mode="markers",
            name=f"{model}: {name(curve)}" if model else name(curve),
            marker={
                "symbol": [SYMBOLS.get(found[at].row["bits"] or 16, "circle") + mark for at in own],
                "size": 11,
                "line": {"width": 2 if model else 0},
                "color": COLOURS["dense"] if found[own[0]].group is None else colour_of(curve),
            },
            text=[_hover(found[at], beaten[at]) for at in own],
            hovertemplate="%{text}<extra></extra>",
        )
    for bits, symbol in SYMBOLS.items():  # what the symbols mean, whoever's they are
        if any(each.row["bits"] == bits for each in found):
            grey = {"symbol": symbol, "size": 10, "color": INK}
            figure.add_scatter(x=[None], y=[None], mode="markers", name=f"{bits} bits", marker=grey)
    figure.add_vline(x=cap / 1e6, line={"color": "#b38f00", "width": 2, "dash": "dash"})
    values = [each.loss for each in found]
    low, high = min(values), max(values)
    if per_byte:  # a logarithm already
        high = min(high, 4 * low)  # a broken model would take all of the axis
        room = 0.05 * (high - low) or 0.05
        figure.update_yaxes(title_text="bits per byte of text", range=[low - room, high + room])
    else:
        high = min(high, max(1e4, 10 * low))
        figure.update_yaxes(title_text="perplexity (log scale)", **log_axis(low * 0.92, high * 1.1))
    figure.update_xaxes(title_text="MB of weights", rangemode="tozero")
    figure.update_layout(legend_y=-0.28)  # below the axis' title on a phone, too
    title = f"What the bytes of {model_name(outcome.protocol)} buy"
    said = "; ".join(
        f"{each.label}: {bytes_text(each.bytes)}, perplexity {number(each.perplexity)}" for each in best
    )
    protocol = outcome.protocol
    source = f"{protocol['windows']} windows of {protocol['eval_length']} tokens of {protocol['evaluation']}"
    return drawn(figure, f"bytes-{model_name(protocol)}", title, source, f"{title}. The front: {said}")


def _hover(place: Place, by: Place | None) -> str:
    lines = [f"<b>{place.label}</b>", f"perplexity {number(place.perplexity)}"]
    if place.ends:
        lines[-1] += f" ({number(place.ends[0])} to {number(place.ends[1])})"
    if place.bits is not None:
        lines.append(f"{number(place.bits)} bits per byte of text")
    lines.append(f"{bytes_text(place.bytes)}")
    lines.append("on the front" if by is None else f"beaten by {by.label}")
    return "<br>".join(lines)


def table(found: Sequence[Place]) -> str:
    """Every point with its three kinds of bytes, the fewest first, and what beats it."""
    body = ""
    rows = zip(found, beaten_by(found), strict=True)
    for place, by in sorted(rows, key=lambda each: (each[0].bytes, each[0].loss)):
        cells = (bytes_text(round(size_of(place, each) or 0)) for each in COUNTED)
        body += (
            f"<tr><th scope=row>{escape(place.label)}</th><td>{number(place.perplexity)}</td>"
            f"<td>{number(place.bits)}</td>"
            f"{''.join(f'<td>{cell}</td>' for cell in cells)}"
            f"<td>{'<b>on the front</b>' if by is None else f'beaten by {escape(by.label)}'}</td></tr>"
        )
    heads = (
        "Point",
        "Perplexity",
        "Bits per byte",
        "Without zeros",
        "Compressed",
        "As a file",
        "By the bytes above",
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Bytes of the points"><table class="results">'
        f"<thead><tr>{''.join(f'<th scope=col>{head}</th>' for head in heads)}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
        "<p class='hint'>Layers in the point's bits; embeddings and head in 16 bits, norms in 32, all counted. Without "
        "zeros: kept values, a scale for 32 weights in 8 and 4 bits, and a bit for every weight. Compressed: deflate, "
        "as in a zip, measured on evenly spaced rows of every matrix. 8-bit is GGUF's; int8 is not counted. A smaller "
        "dense model's perplexity is per token of this one; others compare within one tokenizer only. Bits per byte, "
        "the logarithm of the perplexity over the bytes of text that a token stands for, compare between models.</p>"
    )
