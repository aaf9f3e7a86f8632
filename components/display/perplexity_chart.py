"""Every Plotly figure, from plain numbers. Colours are Okabe and Ito's, which colour-blind people can tell apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from components.display.chart_style import COLOURS, colour_of, new_figure
from components.display.names import is_reference, name, point
from components.display.number_format import number

OFF_CHART = 1e6
"""Worse than guessing blindly: curves leave the chart there, so that the others can be told apart."""


SYMBOLS = ("diamond-open", "square-open", "triangle-up-open", "cross-open", "star-open")
"""Of N:M patterns, beside the curves."""


pio.templates.default = None
"""A template is checked anew for every figure, longer than drawing takes; the look is set in `styled`."""


def perplexity_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Perplexity of every measured point; curves over sparsity, or bars where there is one sparsity only.

    Args:
        rows: of `tables.COLUMNS`, the dense baseline among them.
    """
    measured = [row for row in rows if row["perplexity"] is not None]
    sparsities = {row["sparsity"] for row in measured if not is_reference(row)}
    return _curves(measured) if len(sparsities) > 1 else _bars(measured)


def _bars(rows: list[Mapping[str, Any]]) -> go.Figure:
    figure = new_figure(height=90 + 52 * max(2, len(rows)))
    shown = sorted(rows, key=lambda row: -row["perplexity"])
    names = [point(row) for row in shown]
    values = [row["perplexity"] for row in shown]
    figure.add_bar(
        x=values,
        y=names,
        orientation="h",
        marker_color=[colour_of(row["method"]) for row in shown],
        error_x=_interval(shown),
        text=[number(value) for value in values],
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
    figure = new_figure(height=380)
    reached = [100 * row["sparsity_reached"] for row in rows]
    dashes = cycle(("dot", "dash", "dashdot"))
    for row in rows:
        if is_reference(row):  # a trace: lines drawn as shapes mislead a log axis's range
            figure.add_scatter(
                x=[0, max(reached)],
                y=[row["perplexity"]] * 2,
                mode="lines",
                name=point(row),
                line={"dash": next(dashes), "color": COLOURS["dense"]},
                hovertemplate=f"{point(row)}: perplexity %{{y:.5g}}<extra></extra>",
            )
    patterns = dict.fromkeys(row["pattern"] for row in rows if row["pattern"] not in (None, "unstructured"))
    symbols = dict(zip(patterns, cycle(SYMBOLS), strict=False))
    for method in dict.fromkeys(row["method"] for row in rows if not is_reference(row)):
        own = [row for row in rows if row["method"] == method]
        free = sorted(
            (row for row in own if row["pattern"] == "unstructured"), key=lambda row: row["sparsity"]
        )
        figure.add_scatter(
            x=[100 * row["sparsity_reached"] for row in free],
            y=[row["perplexity"] for row in free],
            error_y=_interval(free),
            mode="lines+markers",
            name=name(method),
            marker_color=colour_of(method),
            hovertemplate=f"{name(method)}, %{{x:.0f}}%: perplexity %{{y:.5g}}<extra></extra>",
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
                    "color": colour_of(method),
                },
                showlegend=False,
                hovertemplate=f"{name(method)}, %{{text}}: perplexity %{{y:.5g}}<extra></extra>",
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
