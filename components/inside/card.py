"""What one opened layer shows: the weight's arithmetic, plane and window, and folded the pictures of the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import plotly.graph_objects as go
from gradio.components.plot import PlotData

from components.display.chart_style import drawn
from components.inside.figures import (
    histogram_figure,
    inputs_figure,
    plane_figure,
    rows_figure,
    window_figure,
)
from components.inside.inspection import Inspection
from components.inside.map_figures import density_figure
from components.inside.number_line import arithmetic_html
from components.inside.opened_layer import Opened, open_layer
from components.inside.parts import Parts
from components.inside.report import label_html, side_names, zeros_html
from components.inside.settings import GROUPS, Asked
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

SPAN = (40, 64)
"""Rows and columns of the window."""
TITLES = {
    "plane": "Weights by size and norm of their input",
    "window": "Weights one by one",
    "density": "Share of the weights kept",
    "histogram": "Scores",
    "inputs": "Norms of the inputs",
    "rows": "How far each output row moves",
}
"""Of the pictures of a layer."""


def card(inspection: Inspection, focus: Recipe, asked: Asked, unfolded: bool) -> Parts:
    """The card of the layer and weight that were asked for.

    Args:
        focus: recipe of the point in focus.
        unfolded: draw the folded pictures, too.

    Raises:
        Refused: the layer cannot be opened; says why.
    """
    from wanda_core.inspection.agreement import scattered, weights_at
    from wanda_core.inspection.boundary import boundary
    from wanda_core.inspection.decision import decide, telling_weight

    recipes = asked.recipes(focus)
    opened = open_layer(inspection, asked.layer, recipes)
    layer, sides, names = opened.layer, opened.sides, side_names(recipes)
    height, width = layer.weight.shape
    row, column = telling_weight(layer, sides) if asked.weight is None else asked.weight
    row, column = min(row, height - 1), min(column, width - 1)
    window = window_around((height, width), row, column)
    picked = weights_at(layer, sides, slice(row, row + 1), slice(column, column + 1))
    lines = [boundary(side, side.spread(layer), layer) for side in sides]
    caption = _Caption.of(inspection, asked.layer, names)
    first, second = (decide(side, row, column) for side in sides)
    plane = plane_figure(layer.plane, lines, scattered(layer, sides), picked, recipes)
    among = recipes[0].parsed_pattern.among
    part = window_figure(weights_at(layer, sides, *window), among, (row, column), recipes)
    shown = Parts(
        **dict.fromkeys(("left", "right", "below"), gr.update(visible=True)),
        label=label_html(opened, recipes),
        weight=f"{row},{column}",
        arithmetic=arithmetic_html(
            (row, column), picked.values.item(), picked.norms.item(), (first, second), recipes
        ),
        plane=caption.drawn(plane, "plane"),
        window=caption.drawn(part, "window"),
    )
    return shown | _folded(opened, recipes, window, names, caption) if unfolded else shown


@dataclass(frozen=True)
class _Caption:
    """What is written on the saved pictures of a layer, and what a screen reader says of them."""

    layer: str
    source: str

    @classmethod
    def of(cls, inspection: Inspection, layer: str, names: tuple[str, str]) -> _Caption:
        protocol = inspection.protocol
        windows = f"{protocol.get('samples')} windows of {protocol.get('length')} tokens"
        read = f"inputs read on {windows} of {protocol.get('calibration')}"
        return cls(layer, f"{inspection.source}, {' and '.join(names)}; {read}")

    def drawn(self, figure: go.Figure, what: str) -> PlotData:
        """A picture of the layer.

        Args:
            what: a key of `TITLES`.
        """
        file = f"{self.layer.replace('.', '-')}-{what}"
        return drawn(figure, file, title=f"{TITLES[what]}: {self.layer}", source=self.source)


def _folded(
    opened: Opened,
    recipes: tuple[Recipe, Recipe],
    window: tuple[slice, slice],
    names: tuple[str, str],
    caption: _Caption,
) -> Parts:
    """Densities, histograms, norms of the inputs, and what each row loses under either group by the point in focus."""
    from wanda_core.inspection.histograms import mask_density
    from wanda_core.inspection.layer import choose_mask, outlier_inputs, row_losses

    layer, sides = opened.layer, opened.sides
    masks = [side.mask[layer.rows].numpy() for side in sides]
    histograms = [side.scored.histogram(mask) for side, mask in zip(sides, masks, strict=True)]
    side = sides[0]
    losses = {"as shown": row_losses(layer, side.mask)}
    if METHODS[side.recipe.method].score is not None:
        for group in ("output", "layer"):
            free = replace(
                side.recipe, pattern="unstructured", group=group, allocation="uniform", order="none"
            )
            mask = choose_mask(layer, side.scored, free)
            losses[f"{GROUPS[group]}, {free.sparsity:.0%}"] = row_losses(layer, mask)
    scored = [
        (histogram, side.spread(layer), recipe)
        for histogram, side, recipe in zip(histograms, sides, recipes, strict=True)
        if METHODS[recipe.method].score is not None
    ]
    shape = (layer.weight.shape[0], layer.weight.shape[1])
    pictures: dict[str, Any] = {
        "histogram": histogram_figure(scored),
        "density": density_figure([mask_density(m) for m in masks], shape, window, names),
        "inputs": inputs_figure(layer.norms.numpy(), outlier_inputs(layer.norms)),
        "rows": rows_figure(losses, recipes[0].method),
    }
    return Parts(
        zeros=zeros_html(opened, recipes, histograms),
        **{what: caption.drawn(figure, what) for what, figure in pictures.items()},
    )


def window_around(shape: tuple[int, int], row: int, column: int) -> tuple[slice, slice]:
    """The window that has the weight in it; begins at a multiple of 8, so that it keeps still for small steps."""
    starts = (
        max(0, min((at - span // 2) // 8 * 8, size - span))
        for at, span, size in zip((row, column), SPAN, shape, strict=True)
    )
    rows, columns = (slice(s, min(size, s + span)) for s, span, size in zip(starts, SPAN, shape, strict=True))
    return rows, columns
