"""The pictures of one layer's weights, inputs and rows in the view Inside, from plain arrays. What both methods keep or
prune is grey; where they differ, each has its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.display.chart_style import colour_of, styled
from components.display.names import name, point
from wanda_core.method.recipe import Recipe

BOTH_PRUNE, BOTH_KEEP = "#555d68", "#c9ced6"
LINE = "#7a7f87"
NORM = "#d08a2e"
"""Of norms, as in the arithmetic."""
PICKED = "#e7298a"
"""Marks the weight that is written out, and the layer that is open."""
Recipes = tuple[Recipe, Recipe]
"""Of the point in focus, and of what it is compared with."""


def fates(recipes: Recipes) -> list[str]:
    """What each agreement code means: 2 where the first keeps, plus 1 where the second does."""
    first, second = (name(recipe.method) for recipe in recipes)
    return ["both prune", f"only {second} keeps", f"only {first} keeps", "both keep"]


def fate_colours(recipes: Recipes) -> list[str]:
    """Of each agreement code: where one alone keeps, its method's colour."""
    first, second = (colour_of(recipe.method) for recipe in recipes)
    return [BOTH_PRUNE, second, first, BOTH_KEEP]


def histogram_figure(scored: Sequence[tuple[Any, np.ndarray, Recipe]]) -> go.Figure:
    """Scores of each method, kept and pruned stacked, with the spread of the thresholds.

    Args:
        scored: for each method with a score its `histograms.Histogram`, the 5%, 50% and 95% quantile of its
            thresholds, and its recipe.
    """
    titles = [f"score: {point(recipe.as_dict())}" for *_, recipe in scored]
    figure = make_subplots(rows=1, cols=max(1, len(scored)), horizontal_spacing=0.08, subplot_titles=titles)
    styled(figure, height=270)
    for col, (histogram, spread, recipe) in enumerate(scored, 1):
        figure.update_xaxes(dtick=_decades(histogram.edges, 4), row=1, col=col)
        middles = 10 ** ((histogram.edges[:-1] + histogram.edges[1:]) / 2)
        widths = np.diff(10**histogram.edges)
        for counts, label, colour in (
            (histogram.pruned, "pruned", BOTH_PRUNE),
            (histogram.kept, "kept", colour_of(recipe.method)),
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
            _thresholds(figure, spread, top, col)
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_xaxes(type="log", exponentformat="power")
    figure.update_yaxes(title="weights", row=1, col=1)
    return figure


def _thresholds(figure: go.Figure, spread: np.ndarray, top: float, col: int) -> None:
    """A band that holds 90% of the thresholds, and a line at their middle."""
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
        line={"dash": "dash", "color": LINE, "width": 2},
        hovertemplate=f"threshold: median {middle:.3g}, 90% between {low:.3g} and {high:.3g}<extra></extra>",
        showlegend=False,
        row=1,
        col=col,
    )


def plane_figure(
    plane: Any, boundaries: Sequence[Any], points: Any, picked: Any, recipes: Recipes
) -> go.Figure:
    """Density of weights by size and input norm, each method's boundary, and single weights.

    Args:
        plane: `histograms.Plane`.
        boundaries: for each method lists of (sizes, norms), each one line.
        points: `agreement.Weights`, flat.
        picked: the weight that is written out, `agreement.Weights` of one.
    """
    figure = styled(go.Figure(), height=330)
    figure.add_heatmap(
        z=np.log10(1 + plane.counts).astype(np.float32),
        x=10 ** ((plane.sizes[:-1] + plane.sizes[1:]) / 2),
        y=10 ** ((plane.norms[:-1] + plane.norms[1:]) / 2),
        colorscale=[[0, "rgba(128,128,128,0)"], [0.02, "rgba(128,128,128,.15)"], [1, "rgba(128,128,128,1)"]],
        showscale=False,
        hoverinfo="skip",
    )
    codes = np.asarray(points.agreement)
    labels, colours = fates(recipes), fate_colours(recipes)
    for code in (0, 3, 1, 2):
        chosen = codes == code
        figure.add_scatter(
            x=np.abs(points.values[chosen]),
            y=points.norms[chosen],
            customdata=_arithmetic(points)[chosen],
            mode="markers",
            marker={"size": 6, "color": colours[code], "line": {"width": 0.7, "color": LINE}},
            name=labels[code],
            hovertemplate=_hover(recipes, labels[code], "%{customdata[6]}", "%{customdata[7]}"),
        )
    for recipe, lines in zip(recipes, boundaries, strict=True):
        for number, (sizes, norms) in enumerate(lines):
            figure.add_scatter(
                x=sizes,
                y=norms,
                mode="lines" if len(sizes) == 2 else "markers",
                line={"color": colour_of(recipe.method), "width": 3 if number == len(lines) // 2 else 1.2},
                marker={"size": 3, "color": colour_of(recipe.method)},
                name=f"{name(recipe.method)}'s boundary",
                showlegend=number == 0,
                hoverinfo="skip",
            )
    if abs(picked.values.item()) > 0:
        figure.add_scatter(
            x=[abs(picked.values.item())],
            y=[picked.norms.item()],
            mode="markers",
            marker={"symbol": "x-open", "size": 14, "color": PICKED, "line": {"width": 3}},
            name="this weight",
            cliponaxis=False,
            showlegend=False,
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
    return _small_legend(figure)


def window_figure(part: Any, among: int, picked: tuple[int, int], recipes: Recipes) -> go.Figure:
    """One pixel per weight, coloured by agreement.

    Args:
        part: `agreement.Weights` (rows, columns).
        among: M of an N:M pattern, whose groups are then set apart; else 0.
        picked: row and column of the weight that is written out.
    """
    figure = styled(go.Figure(), height=330)
    colours = fate_colours(recipes)
    scale = [[edge, colour] for i, colour in enumerate(colours) for edge in (i / 4, (i + 1) / 4)]
    labels = np.array(fates(recipes))
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
        hovertemplate=_hover(recipes, "%{text}", "%{y}", "%{x}"),
    )
    for code in (0, 3, 1, 2):  # a legend, which a heatmap has not
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=labels[code],
            marker={
                "symbol": "square",
                "size": 10,
                "color": colours[code],
                "line": {"width": 1, "color": LINE},
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
        line={"color": PICKED, "width": 3},
    )
    figure.update_xaxes(title="input", showgrid=False, range=[start - 0.5, start + width - 0.5], nticks=8)
    figure.update_yaxes(
        title="output row", showgrid=False, range=[first + height - 0.5, first - 0.5], nticks=8
    )
    return _small_legend(figure)


def _small_legend(figure: go.Figure) -> go.Figure:
    """Above the picture, left of the toolbar: it lies beside another, which should begin as high."""
    legend = {"font_size": 11, "itemwidth": 30, "y": 1.0, "yanchor": "bottom"}
    figure.update_layout(legend=legend, margin={"t": 20, "b": 4})
    return figure


def inputs_figure(norms: np.ndarray, outliers: np.ndarray) -> go.Figure:
    """Norm of every input feature, the outliers by name."""
    figure = styled(go.Figure(), height=280)
    figure.add_scatter(
        x0=0,
        dx=1,
        y=norms,
        mode="lines",
        line={"width": 1, "color": NORM},
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
        marker={"color": PICKED, "size": 8},
        name="outliers",
        showlegend=False,
        hovertemplate="input %{x}: norm %{y:.4g}<extra>outlier</extra>",
    )
    figure.update_xaxes(title="input feature")
    top = float(norms.max(initial=0.0)) or 1.0
    figure.update_yaxes(title="norm ‖X‖", range=[0, 1.2 * top])  # room for the names
    return figure


def rows_figure(losses: dict[str, tuple[np.ndarray, np.ndarray]], method: str) -> go.Figure:
    """Loss of every output row under each group, rows in the order of the first.

    Args:
        losses: by group, shares pruned and losses of the rows, (out_features,) each.
        method: whose colour the first curve has.
    """
    figure = styled(go.Figure(), height=300)
    order = np.argsort(next(iter(losses.values()))[1], kind="stable")
    step = max(1, len(order) // 1024)
    shown = order[::step]
    for (group, (pruned, lost)), colour in zip(
        losses.items(), (colour_of(method), LINE, "#b8bdc6"), strict=False
    ):
        figure.add_scatter(
            x0=0,
            dx=step,
            y=(100 * lost[shown]).astype(np.float32),
            mode="lines",
            name=group,
            line={"color": colour},
            customdata=np.stack([shown, 100 * pruned[shown]], 1).astype(np.float32),
            hovertemplate="row %{customdata[0]:.0f}: moved %{y:.1f}%, %{customdata[1]:.1f}% of it pruned",
        )
    figure.update_xaxes(title="output rows, in the order of the first curve")
    figure.update_yaxes(title="the row's output moves by", ticksuffix="%", rangemode="tozero")
    return _small_legend(figure)


def _arithmetic(weights: Any) -> np.ndarray:
    """Value, norm, scores and thresholds of both, row, column: float32, the weights' shape and 8."""
    (one, two), (first, second) = weights.scores, weights.thresholds
    parts = (weights.values, weights.norms, one, first, two, second, weights.rows, weights.columns)
    return np.stack([np.asarray(part, np.float32) for part in parts], axis=-1)


def _hover(recipes: Recipes, fate: str, row: str, column: str) -> str:
    one, two = (name(recipe.method) for recipe in recipes)
    return (
        f"output {row}, input {column}: <b>{fate}</b><br>W %{{customdata[0]:.5g}}, ‖X‖ %{{customdata[1]:.5g}}"
        f"<br>{one}: score %{{customdata[2]:.5g}}, threshold %{{customdata[3]:.5g}}"
        f"<br>{two}: score %{{customdata[4]:.5g}}, threshold %{{customdata[5]:.5g}}<extra></extra>"
    )


def _decades(edges: np.ndarray, most: int) -> int | None:
    """Whole powers of ten between two ticks, for about `most` ticks; None: the axis spans too little for that."""
    span = float(edges[-1] - edges[0])
    return max(1, round(span / most)) if span > 1.5 else None
