"""The chart of output errors, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.display import names
from components.display.chart_style import colour_of, styled


def layers_figure(layers: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Output error and sparsity of every layer, one line for each measured point.

    Args:
        layers: point name -> for every layer block, kind, sparsity and error, in the model's order.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.08)
    styled(figure, height=420)
    for key, reports in layers.items():
        method, amount = key.split(" ")
        name = f"{names.name(method)} {amount}"
        where = [f"block {r['block']}, {r['kind']}" for r in reports]
        line = {"color": colour_of(method), "width": 1.5}
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
