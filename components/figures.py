"""Every Plotly figure, from plain numbers. Colours are Okabe and Ito's, which colour-blind people can tell apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from gradio.components.plot import PlotData
from plotly.subplots import make_subplots

from components import words

COLOURS = {
    "dense": "#7a7f87",
    "magnitude": "#d55e00",
    "wanda": "#0072b2",
    "sparsegpt": "#009e73",
    "ria": "#cc79a7",
    "wanda+admm": "#56b4e9",
    "random": "#b38f00",
}
OTHER = "#8c6bb1"
OFF_CHART = 1e6
"""Worse than guessing blindly: curves leave the chart there, so that the others can be told apart."""
SYMBOLS = ("diamond-open", "square-open", "triangle-up-open", "cross-open", "star-open")
"""Of N:M patterns, beside the curves."""
pio.templates.default = None
"""A template is checked anew for every figure, longer than drawing takes; the look is set in `styled`."""
GRID = "rgba(128,128,128,0.25)"


def perplexity_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Perplexity of every measured point; curves over sparsity, or bars where there is one sparsity only.

    Args:
        rows: of `tables.COLUMNS`, the dense baseline among them.
    """
    measured = [row for row in rows if row["perplexity"] is not None]
    sparsities = {row["sparsity"] for row in measured if not words.is_reference(row)}
    return _curves(measured) if len(sparsities) > 1 else _bars(measured)


def _bars(rows: list[Mapping[str, Any]]) -> go.Figure:
    figure = _figure(height=90 + 52 * max(2, len(rows)))
    shown = sorted(rows, key=lambda row: -row["perplexity"])
    names = [words.point(row) for row in shown]
    values = [row["perplexity"] for row in shown]
    figure.add_bar(
        x=values,
        y=names,
        orientation="h",
        marker_color=[_colour(row["method"]) for row in shown],
        error_x=_interval(shown),
        text=[words.number(value) for value in values],
        textposition="auto",
        insidetextanchor="start",
        insidetextfont_color="white",
        hovertemplate="%{y}: perplexity %{x:.5g}<extra></extra>",
        width=0.6,
    )
    top = max([row["perplexity_high"] or row["perplexity"] for row in shown], default=1)
    if top > 8 * min(values, default=top):
        low = min(values) / 2
        figure.update_xaxes(type="log", range=[math.log10(low), math.log10(top * 2.5)], dtick=1)
    else:
        figure.update_xaxes(range=[0, top * 1.2], nticks=5)
    figure.update_xaxes(title="perplexity (lower is better)")
    figure.update_layout(showlegend=False)
    return figure


def _curves(rows: list[Mapping[str, Any]]) -> go.Figure:
    figure = _figure(height=380)
    reached = [100 * row["sparsity_reached"] for row in rows]
    dashes = cycle(("dot", "dash", "dashdot"))
    for row in rows:
        if words.is_reference(row):  # a trace: lines drawn as shapes mislead a log axis's range
            figure.add_scatter(
                x=[0, max(reached)],
                y=[row["perplexity"]] * 2,
                mode="lines",
                name=words.point(row),
                line={"dash": next(dashes), "color": COLOURS["dense"]},
                hovertemplate=f"{words.point(row)}: perplexity %{{y:.5g}}<extra></extra>",
            )
    patterns = dict.fromkeys(row["pattern"] for row in rows if row["pattern"] not in (None, "unstructured"))
    symbols = dict(zip(patterns, cycle(SYMBOLS), strict=False))
    for method in dict.fromkeys(row["method"] for row in rows if not words.is_reference(row)):
        own = [row for row in rows if row["method"] == method]
        free = sorted(
            (row for row in own if row["pattern"] == "unstructured"), key=lambda row: row["sparsity"]
        )
        figure.add_scatter(
            x=[100 * row["sparsity_reached"] for row in free],
            y=[row["perplexity"] for row in free],
            error_y=_interval(free),
            mode="lines+markers",
            name=words.name(method),
            marker_color=_colour(method),
            hovertemplate=f"{words.name(method)}, %{{x:.0f}}%: perplexity %{{y:.5g}}<extra></extra>",
        )
        fixed = [row for row in own if row["pattern"] != "unstructured"]
        if fixed:
            figure.add_scatter(
                x=[100 * row["sparsity_reached"] for row in fixed],
                y=[row["perplexity"] for row in fixed],
                mode="markers",
                text=[row["pattern"] for row in fixed],
                marker={
                    "symbol": [symbols[row["pattern"]] for row in fixed],
                    "size": 10,
                    "color": _colour(method),
                },
                showlegend=False,
                hovertemplate=f"{words.name(method)}, %{{text}}: perplexity %{{y:.5g}}<extra></extra>",
            )
    for pattern, symbol in symbols.items():  # what the symbols mean, whoever's they are
        grey = {"symbol": symbol, "size": 10, "color": COLOURS["dense"]}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=pattern, marker=grey)
    figure.update_yaxes(type="log", title="perplexity (log scale)", dtick=1)
    values = [row["perplexity"] for row in rows]
    if max(values, default=0) > OFF_CHART:
        figure.update_yaxes(range=[math.log10(min(values) / 1.5), math.log10(OFF_CHART)])
    figure.update_xaxes(title="sparsity: share of weights removed", ticksuffix="%")
    return figure


def sensitivity_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Perplexity against the number of calibration windows, one line for each point and text; the marker is the mean
    over seeds, the bar their range.

    Args:
        rows: of `tables.COLUMNS` and `tables.SWEPT`.
    """
    figure = styled(go.Figure(), height=340)
    lines: dict[str, dict[int, list[float]]] = {}
    texts = {row["calibration"] for row in rows if row["calibration"]}
    for row in rows:
        if not words.is_reference(row) and row["perplexity"] is not None and row["samples"]:
            text = f", {row['calibration']}" if len(texts) > 1 else ""
            windows = lines.setdefault(words.point(row) + text, {})
            windows.setdefault(row["samples"], []).append(row["perplexity"])
    for key, windows in lines.items():
        counts = sorted(windows)
        means = [sum(windows[n]) / len(windows[n]) for n in counts]
        figure.add_scatter(
            x=counts,
            y=means,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [max(windows[n]) - mean for n, mean in zip(counts, means, strict=True)],
                "arrayminus": [mean - min(windows[n]) for n, mean in zip(counts, means, strict=True)],
                "thickness": 1.2,
            },
            mode="lines+markers",
            name=key,
            hovertemplate=f"{key}, %{{x}} windows: perplexity %{{y:.5g}}<extra></extra>",
        )
    counts = sorted({n for windows in lines.values() for n in windows})
    figure.update_xaxes(type="log", title="calibration windows", tickvals=counts)
    figure.update_yaxes(title="perplexity: mean and range over seeds")
    return figure


def layers_figure(layers: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Output error and sparsity of every layer, one line for each measured point.

    Args:
        layers: point name -> for every layer block, kind, sparsity and error, in the model's order.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.08)
    styled(figure, height=420)
    for key, reports in layers.items():
        method, amount = key.split(" ")
        name = f"{words.name(method)} {amount}"
        where = [f"block {r['block']}, {r['kind']}" for r in reports]
        line = {"color": _colour(method), "width": 1.5}
        common = {"x": list(range(1, len(reports) + 1)), "text": where, "mode": "lines", "line": line}
        figure.add_scatter(
            y=[100 * r["error"] for r in reports],
            name=name,
            hovertemplate="%{text}: error %{y:.1f}%<extra>" + name + "</extra>",
            row=1,
            col=1,
            **common,
        )
        figure.add_scatter(
            y=[100 * r["sparsity"] for r in reports],
            name=name,
            showlegend=False,
            hovertemplate="%{text}: %{y:.2f}% zero<extra>" + name + "</extra>",
            row=2,
            col=1,
            **common,
        )
    figure.update_yaxes(title="output error", ticksuffix="%", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="sparsity", ticksuffix="%", range=[0, 105], nticks=3, row=2, col=1)
    figure.update_xaxes(title="layer, from the first block to the last", row=2, col=1)
    return figure


def _figure(height: int) -> go.Figure:
    return styled(go.Figure(), height)


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Transparent, so that the page's light or dark shows through; the style sheet colours the text."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 16, "t": 36, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13, "color": "#7a7f87"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hoverlabel={"namelength": -1},
    )
    axes = {"gridcolor": GRID, "zeroline": False, "automargin": True, "title_font_size": 13}
    figure.update_xaxes(axes)
    figure.update_yaxes(axes)
    return figure


def drawn(figure: go.Figure, file: str) -> PlotData:
    """With a button that saves the picture always in sight.

    Args:
        file: name of the download, without its ending.
    """
    figure.update_layout(
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#7a7f87", "activecolor": COLOURS["wanda"]}
    )
    config = (
        '{"displayModeBar":true,"displaylogo":false,"modeBarButtons":[["toImage"]],'
        f'"toImageButtonOptions":{{"filename":"{file}","scale":2}}}}'
    )
    return PlotData(type="plotly", plot=f'{figure.to_json()[:-1]},"config":{config}}}')


def _interval(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = all(row[end] is not None for row in rows for end in ("perplexity_low", "perplexity_high"))
    return {
        "type": "data",
        "symmetric": False,
        "array": [row["perplexity_high"] - row["perplexity"] for row in rows] if known else [],
        "arrayminus": [row["perplexity"] - row["perplexity_low"] for row in rows] if known else [],
        "thickness": 1.2,
        "color": "#7a7f87",
        "visible": known,
    }


def _colour(method: str) -> str:
    return COLOURS.get(method, OTHER)
