"""The maps of the view Inside, from plain arrays: all layers of the model, and the whole mask of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.display.chart_style import styled
from components.display.names import point
from components.inside.figures import PICKED, Recipes

SEQUENTIAL = "Cividis"
"""Readable by colour-blind people, in light and in dark."""
QUANTITY = {
    "differ": "the two differ on",
    "error": "output error",
    "sparsity": "pruned",
    "outliers": "outlier inputs",
}
"""As hovering says it."""


def map_figure(
    layers: Sequence[Any], quantity: str, recipes: Recipes, openable: frozenset[str], opened: str
) -> go.Figure:
    """Blocks by layer kinds, one map for each method where the quantity has one.

    Args:
        layers: `LayerSummary` of every layer.
        quantity: `sparsity`, `error`, `differ` or `outliers`.
        openable: names of the layers that a click opens; outlined where they are not all.
        opened: name of the layer that is shown, which is marked.
    """
    kinds = list(dict.fromkeys(layer.kind for layer in layers))
    blocks = sorted({layer.block for layer in layers})
    both = quantity in ("sparsity", "error")
    titles = [point(recipe.as_dict()) for recipe in recipes] if both else [""]
    figure = make_subplots(
        rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.14, subplot_titles=titles
    )
    styled(figure, height=64 + len(titles) * (20 + 15 * len(kinds)))
    figure.update_layout(margin={"t": 24, "b": 4})
    values, hints = [], np.full((len(kinds), len(blocks)), "", dtype=object)
    for place, _ in enumerate(titles):
        sums = np.zeros((len(kinds), len(blocks)))
        counts = np.zeros_like(sums)
        for layer in layers:
            value = getattr(layer, quantity)
            at = kinds.index(layer.kind), blocks.index(layer.block)
            sums[at] += value[place] if isinstance(value, Sequence) else value
            counts[at] += 1
            hints[at] = "click to open" if layer.name in openable else "press Inspect layers to open it"
        values.append(np.divide(100 * sums, counts, out=np.full_like(sums, np.nan), where=counts > 0))
    marked = [layer for layer in layers if layer.name in openable] if len(openable) < len(layers) else []
    for row, shares in enumerate(values, 1):
        figure.add_heatmap(
            z=shares.astype(np.float32),
            x=blocks,
            y=kinds,
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            text=hints,
            hovertemplate=f"block %{{x}}, %{{y}}: {QUANTITY[quantity]} %{{z:.3g}}%<br>%{{text}}<extra></extra>",
            row=row,
            col=1,
        )
        for layer, colour, width in [
            *((layer, "#ffffff", 1.5) for layer in marked),
            *((layer, PICKED, 3) for layer in layers if layer.name == opened),
        ]:
            x, y = layer.block, kinds.index(layer.kind)
            figure.add_shape(
                type="rect",
                x0=x - 0.5,
                x1=x + 0.5,
                y0=y - 0.5,
                y1=y + 0.5,
                line={"color": colour, "width": width},
                row=row,
                col=1,
            )
    figure.update_yaxes(
        autorange="reversed",
        showgrid=False,
        fixedrange=True,
        tickvals=kinds,
        ticktext=[kind.rsplit(".", 1)[-1] for kind in kinds],
    )
    figure.update_xaxes(showgrid=False, fixedrange=True)
    figure.update_xaxes(title="block", row=len(titles), col=1)
    colours: dict[str, Any] = {
        "colorscale": SEQUENTIAL,
        "colorbar": {"ticksuffix": "%", "thickness": 10, "outlinewidth": 0, "nticks": 4},
    }
    if np.nanmax(values) - np.nanmin(values) < 0.05:  # all alike: no colours out of rounding
        colours |= {"cmin": 0, "cmax": 100}
    figure.update_layout(coloraxis=colours)
    return figure


def density_figure(
    densities: Sequence[np.ndarray], shape: tuple[int, int], window: tuple[slice, slice], names: Sequence[str]
) -> go.Figure:
    """The whole mask of each method; the frame is the window that is shown weight by weight."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=names)
    styled(figure, height=330)
    rows, columns = window
    for col, values in enumerate(densities, 1):
        x, y = (_middles(size, cells) for size, cells in zip(shape[::-1], values.shape[::-1], strict=True))
        figure.add_heatmap(
            z=values,
            x=x,
            y=y,
            coloraxis="coloraxis",
            row=1,
            col=col,
            hovertemplate="around output %{y:.0f}, input %{x:.0f}: %{z:.0f}% kept<extra></extra>",
        )
        figure.add_shape(
            type="rect",
            x0=columns.start - 0.5,
            x1=columns.stop - 0.5,
            y0=rows.start - 0.5,
            y1=rows.stop - 0.5,
            line={"color": PICKED, "width": 2},
            row=1,
            col=col,
        )
    figure.update_xaxes(title="input", showgrid=False, range=[-0.5, shape[1] - 0.5], nticks=5)
    figure.update_yaxes(showgrid=False, range=[shape[0] - 0.5, -0.5])
    figure.update_yaxes(title="output row", row=1, col=1)
    figure.update_layout(
        coloraxis={
            "colorscale": SEQUENTIAL,
            "cmin": 0,
            "cmax": 100,
            "colorbar": {"ticksuffix": "%", "thickness": 10, "outlinewidth": 0, "title": "kept"},
        }
    )
    return figure


def _middles(size: int, cells: int) -> np.ndarray:
    edges = np.linspace(0, size, cells + 1)
    return (edges[:-1] + edges[1:] - 1) / 2
