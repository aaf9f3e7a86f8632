"""The pictures of one layer's weights, inputs and rows in the view Inside, from plain arrays. What both methods keep or
remove is grey; where they differ, each has its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.display.chart_style import COLOURS, styled

BOTH_PRUNE, ONLY_SECOND, ONLY_FIRST, BOTH_KEEP = "#555d68", COLOURS["wanda"], COLOURS["magnitude"], "#c9ced6"
"""By agreement code 0 to 3. The first method's colour is orange, the second's blue, whichever they are."""


SIDES = (COLOURS["magnitude"], COLOURS["wanda"])


def fates(names: Sequence[str]) -> list[str]:
    """What each agreement code means."""
    return ["both remove", f"only {names[1]} keeps", f"only {names[0]} keeps", "both keep"]


def histogram_figure(
    histograms: Sequence[Any], spreads: Sequence[np.ndarray], names: Sequence[str]
) -> go.Figure:
    """Scores of both methods, removed and kept stacked, with the spread of the thresholds.

    Args:
        histograms: `densities.Histogram` of each method.
        spreads: 5%, 50% and 95% quantile of each method's thresholds.
    """
    figure = make_subplots(
        rows=1, cols=2, horizontal_spacing=0.08, subplot_titles=[f"score: {n}" for n in names]
    )
    styled(figure, height=270)
    for col, (histogram, spread) in enumerate(zip(histograms, spreads, strict=True), 1):
        figure.update_xaxes(dtick=_decades(histogram.edges, 4), row=1, col=col)
        middles = 10 ** ((histogram.edges[:-1] + histogram.edges[1:]) / 2)
        widths = np.diff(10**histogram.edges)
        for counts, label, colour in (
            (histogram.pruned, "removed", BOTH_PRUNE),
            (histogram.kept, "kept", SIDES[col - 1]),
        ):
            figure.add_bar(
                x=middles,
                y=counts,
                width=widths,
                name=label,
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate="score %{x:.3g}: %{y:,} weights<extra>" + label + "</extra>",
                showlegend=False,
                row=1,
                col=col,
            )
        if np.isfinite(spread).all():
            top = float((histogram.kept + histogram.pruned).max()) * 1.05
            low, middle, high = (float(value) for value in spread)
            figure.add_scatter(
                x=[low, high, high, low, low],
                y=[0, 0, top, top, 0],
                mode="lines",
                fill="toself",
                fillcolor="rgba(128,128,128,0.25)",
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                row=1,
                col=col,
            )
            figure.add_scatter(
                x=[middle, middle],
                y=[0, top],
                mode="lines",
                line={"dash": "dash", "color": "#7a7f87", "width": 2},
                hovertemplate=f"threshold: median {middle:.3g}, 90% between {low:.3g} and {high:.3g}<extra></extra>",
                showlegend=False,
                row=1,
                col=col,
            )
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_xaxes(type="log", exponentformat="power")
    figure.update_yaxes(title="weights", row=1, col=1)
    return figure


def plane_figure(
    plane: Any, boundaries: Sequence[Any], points: Any, picked: Any, names: Sequence[str]
) -> go.Figure:
    """Density of weights by size and input norm, each method's boundary, and single weights.

    Args:
        plane: `densities.Plane`.
        boundaries: for each method lists of (sizes, norms), each one line.
        points: `inspection.Weights`, flat.
        picked: the weight that is written out, `inspection.Weights` of one.
    """
    figure = styled(go.Figure(), height=400)
    figure.add_heatmap(
        z=np.log10(1 + plane.counts).astype(np.float32),
        x=10 ** ((plane.sizes[:-1] + plane.sizes[1:]) / 2),
        y=10 ** ((plane.norms[:-1] + plane.norms[1:]) / 2),
        colorscale=[[0, "rgba(128,128,128,0)"], [0.02, "rgba(128,128,128,.15)"], [1, "rgba(128,128,128,1)"]],
        showscale=False,
        hoverinfo="skip",
    )
    codes = np.asarray(points.agreement)
    for code, colour in ((0, BOTH_PRUNE), (3, BOTH_KEEP), (1, ONLY_SECOND), (2, ONLY_FIRST)):
        chosen = codes == code
        figure.add_scatter(
            x=np.abs(points.values[chosen]),
            y=points.norms[chosen],
            customdata=_arithmetic(points)[chosen],
            mode="markers",
            marker={"size": 6, "color": colour, "line": {"width": 0.7, "color": "#7a7f87"}},
            name=fates(names)[code],
            hovertemplate=_hover(names, fates(names)[code], "%{customdata[6]}", "%{customdata[7]}"),
        )
    for side, lines in enumerate(boundaries):
        for number, (sizes, norms) in enumerate(lines):
            figure.add_scatter(
                x=sizes,
                y=norms,
                mode="lines" if len(sizes) == 2 else "markers",
                line={"color": SIDES[side], "width": 3 if number == len(lines) // 2 else 1.2},
                marker={"size": 3, "color": SIDES[side]},
                name=f"boundary: {names[side]}",
                showlegend=number == 0,
                hoverinfo="skip",
            )
    if picked is not None and abs(picked.values.item()) > 0:
        figure.add_scatter(
            x=[abs(picked.values.item())],
            y=[picked.norms.item()],
            mode="markers",
            marker={"symbol": "x-open", "size": 14, "color": "#cc79a7", "line": {"width": 3}},
            name="the weight below",
            hoverinfo="skip",
        )
    pad = 0.05
    figure.update_xaxes(
        type="log",
        title="size of the weight |W|",
        exponentformat="power",
        dtick=_decades(plane.sizes, 5),
        range=[plane.sizes[0] - pad, plane.sizes[-1] + pad],
    )
    figure.update_yaxes(
        type="log",
        title="norm of its input ‖X‖",
        exponentformat="power",
        dtick=_decades(plane.norms, 5),
        range=[plane.norms[0] - pad, plane.norms[-1] + pad],
    )
    return figure


def window_figure(part: Any, among: int, picked: tuple[int, int], names: Sequence[str]) -> go.Figure:
    """One pixel per weight, coloured by agreement.

    Args:
        part: `inspection.Weights` (rows, columns).
        among: M of an N:M pattern, whose groups are then set apart; else 0.
    """
    figure = styled(go.Figure(), height=430)
    colours = (BOTH_PRUNE, ONLY_SECOND, ONLY_FIRST, BOTH_KEEP)
    scale = [[edge, colour] for i, colour in enumerate(colours) for edge in (i / 4, (i + 1) / 4)]
    labels = np.array(fates(names))
    first, start = int(part.rows[0, 0]), int(part.columns[0, 0])
    figure.add_heatmap(
        z=part.agreement,
        x0=start,
        dx=1,
        y0=first,
        dy=1,
        zmin=-0.5,
        zmax=3.5,
        colorscale=scale,
        showscale=False,
        customdata=_arithmetic(part)[..., :6],
        text=labels[part.agreement],
        hovertemplate=_hover(names, "%{text}", "%{y}", "%{x}"),
    )
    for code in (3, 1, 2, 0):  # a legend, which a heatmap has not
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=labels[code],
            marker={
                "symbol": "square",
                "size": 11,
                "color": colours[code],
                "line": {"width": 1, "color": "#7a7f87"},
            },
        )
    height, width = part.agreement.shape
    if among:
        edges = [edge for edge in range(start, start + width + 1) if edge % among == 0]
        figure.add_scatter(
            x=[v for edge in edges for v in (edge - 0.5, edge - 0.5, None)],
            y=[v for _ in edges for v in (first - 0.5, first + height - 0.5, None)],
            mode="lines",
            line={"color": "#f0e442", "width": 1},
            name=f"groups of {among}",
            hoverinfo="skip",
        )
    figure.add_shape(
        type="rect",
        x0=picked[1] - 0.5,
        x1=picked[1] + 0.5,
        y0=picked[0] - 0.5,
        y1=picked[0] + 0.5,
        line={"color": "#cc79a7", "width": 3},
    )
    figure.update_xaxes(title="input", showgrid=False, range=[start - 0.5, start + width - 0.5], nticks=8)
    figure.update_yaxes(
        title="output row", showgrid=False, range=[first + height - 0.5, first - 0.5], nticks=8
    )
    return figure


def inputs_figure(norms: np.ndarray, outliers: np.ndarray) -> go.Figure:
    """Norm of every input feature, the outliers by name."""
    figure = styled(go.Figure(), height=280)
    figure.add_scatter(
        x0=0,
        dx=1,
        y=norms,
        mode="lines",
        line={"width": 1, "color": COLOURS["wanda"]},
        showlegend=False,
        hovertemplate="input %{x}: norm %{y:.4g}<extra></extra>",
    )
    named = outliers[:12]
    figure.add_scatter(
        x=named,
        y=norms[named],
        mode="markers+text",
        text=[f"input {i}" for i in named],
        textposition="top center",
        marker={"color": COLOURS["magnitude"], "size": 8},
        name="outliers",
        showlegend=False,
        hovertemplate="input %{x}: norm %{y:.4g}<extra>outlier</extra>",
    )
    figure.update_xaxes(title="input feature")
    top = float(norms.max(initial=0.0)) or 1.0
    figure.update_yaxes(title="norm ‖X‖", range=[0, 1.2 * top])  # room for the names
    return figure


def rows_figure(losses: dict[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """Loss of every output row under each group, rows in the order of the first.

    Args:
        losses: by group, shares removed and losses of the rows, (out_features,) each.
    """
    figure = styled(go.Figure(), height=300)
    order = np.argsort(next(iter(losses.values()))[1], kind="stable")
    step = max(1, len(order) // 1024)
    shown = order[::step]
    for (group, (removed, lost)), colour in zip(losses.items(), (*SIDES, COLOURS["sparsegpt"]), strict=False):
        figure.add_scatter(
            x0=0,
            dx=step,
            y=(100 * lost[shown]).astype(np.float32),
            mode="lines",
            name=group,
            line={"color": colour},
            customdata=np.stack([shown, 100 * removed[shown]], 1).astype(np.float32),
            hovertemplate="row %{customdata[0]:.0f}: moved %{y:.1f}%, %{customdata[1]:.1f}% of it removed",
        )
    figure.update_xaxes(title="output rows, in the order of the first curve")
    figure.update_yaxes(title="the row's output moves by", ticksuffix="%", rangemode="tozero")
    return figure


def _arithmetic(weights: Any) -> np.ndarray:
    """Value, norm, scores and thresholds of both, row, column: float32, the weights' shape and 8."""
    (one, two), (first, second) = weights.scores, weights.thresholds
    parts = (weights.values, weights.norms, one, first, two, second, weights.rows, weights.columns)
    return np.stack([np.asarray(part, np.float32) for part in parts], axis=-1)


def _hover(names: Sequence[str], fate: str, row: str, column: str) -> str:
    one, two = names
    return (
        f"output {row}, input {column}: <b>{fate}</b><br>W %{{customdata[0]:.5g}}, ‖X‖ %{{customdata[1]:.5g}}"
        f"<br>{one}: score %{{customdata[2]:.5g}}, threshold %{{customdata[3]:.5g}}"
        f"<br>{two}: score %{{customdata[4]:.5g}}, threshold %{{customdata[5]:.5g}}<extra></extra>"
    )


def _decades(edges: np.ndarray, most: int) -> int | None:
    """Whole powers of ten between two ticks, for about `most` ticks; None: the axis spans too little for that."""
    span = float(edges[-1] - edges[0])
    return max(1, round(span / most)) if span > 1.5 else None
