"""The chart of several runs, one over the other."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from components.display.chart_style import colour_of, styled
from components.display.names import contender, name
from components.workspace.run_summary import Run

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""A run's own line; the colour is the method's."""
HIGHEST = 1000
"""Times dense; beyond it a curve leaves the chart."""


def runs_figure(runs: Sequence[Run]) -> go.Figure:
    """Perplexity as times the dense model's, so that runs on different windows can share a chart."""
    figure = styled(go.Figure(), height=420)
    for index, run in enumerate(runs):
        if not run.dense:
            continue
        for method in dict.fromkeys(contender(point.as_row()) for point in run.points if point.sparsity):
            own = sorted(
                (
                    p
                    for p in run.points
                    if contender(p.as_row()) == method and p.perplexity and p.sparsity is not None
                ),
                key=lambda point: point.sparsity or 0,
            )
            own = [point for point in own if (point.perplexity or 0) / run.dense <= HIGHEST]
            free = [point for point in own if point.pattern == "unstructured"]
            for points, mode in ((free, "lines+markers"), ([p for p in own if p not in free], "markers")):
                if not points:
                    continue
                figure.add_scatter(
                    x=[100 * (point.sparsity or 0) for point in points],
                    y=[(point.perplexity or 0) / run.dense for point in points],
                    mode=mode,
                    name=f"{name(method)} · {run.name}"[:60],
                    line={"color": colour_of(method), "dash": DASHES[index % len(DASHES)]},
                    marker={
                        "color": colour_of(method),
                        "symbol": "circle" if mode != "markers" else "diamond-open",
                        "size": 9,
                    },
                    customdata=[[point.perplexity, point.pattern] for point in points],
                    hovertemplate=f"{name(method)}, %{{customdata[1]}} %{{x:.0f}}%: %{{y:.2f}} × dense, perplexity "
                    "%{customdata[0]:.4g}<extra></extra>",
                )
    figure.update_xaxes(title="% of the weights pruned", rangemode="tozero")
    figure.update_yaxes(title="perplexity, × dense", type="log")
    figure.update_layout(legend={"y": -0.25, "yanchor": "top"})
    return figure
