"""The card of the view Inside: what one opened layer shows, and the checks of what the page asks of it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.display import chart_style
from components.inside.figures import (
    histogram_figure,
    inputs_figure,
    plane_figure,
    rows_figure,
    window_figure,
)
from components.inside.kept_inspections import Look
from components.inside.map_figures import density_figure
from components.inside.opened_layer import Opened, open_layer
from components.inside.report import arithmetic_html, side_names, source_label
from components.request_checks import finite
from wanda_core.errors import Refused
from wanda_core.inspection.boundary import boundary
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

GROUPS = {"own": "each method's own", "output": "output row", "layer": "whole layer", "input": "input column"}


SPAN = (48, 96)
"""Rows and columns of the window."""


def card_values(
    look: Look,
    layer: Any,
    one: Any,
    two: Any,
    percent: Any,
    pattern: Any,
    group: Any,
    row: Any,
    column: Any,
    unfolded: Any,
) -> list[Any]:
    """Values for `InsideView.card`."""
    from wanda_core.inspection.agreement import scattered, weights_at
    from wanda_core.inspection.histograms import mask_density

    recipes = _recipes(look, one, two, percent, pattern, group)
    opened = open_layer(look, layer, recipes)
    sides, names = opened.sides, side_names(recipes)
    shape = tuple(opened.layer.weight.shape)
    row, column = (
        min(max(0, int(finite(*v))), size - 1)
        for v, size in zip((("Row of the weight", row), ("Input of the weight", column)), shape, strict=True)
    )
    window = window_around(shape, row, column)
    drawn = [side.mask[opened.layer.rows].numpy() for side in sides]
    spreads = [side.spread(opened.layer) for side in sides]
    histograms = [side.scored.histogram(mask) for side, mask in zip(sides, drawn, strict=True)]
    picked = weights_at(opened.layer, sides, slice(row, row + 1), slice(column, column + 1))
    plane = opened.layer.plane
    lines = [boundary(side, spread, plane, opened) for side, spread in zip(sides, spreads, strict=True)]
    file = f"{str(layer).replace('.', '-')}"
    pictures = (
        ("scores", histogram_figure(histograms, spreads, names)),
        (
            "plane",
            plane_figure(plane, lines, scattered(opened.layer, sides), picked, names),
        ),
        (
            "mask",
            density_figure([mask_density(m) for m in drawn], shape, window, names),
        ),
        (
            "weights",
            window_figure(
                weights_at(opened.layer, sides, *window),
                recipes[0].parsed_pattern.among,
                (row, column),
                names,
            ),
        ),
    )
    return [
        source_label(look, opened, recipes, histograms),
        *(chart_style.drawn(figure, f"{file}-{what}") for what, figure in pictures),
        arithmetic_html(picked, recipes, names),
        *(_folded(opened, recipes, file) if unfolded is True else [gr.skip(), gr.skip()]),
    ]


def _recipes(look: Look, one: Any, two: Any, percent: Any, pattern: Any, group: Any) -> tuple[Recipe, Recipe]:
    """What the controls ask for, on the schedule and seed of the look's run.

    Raises:
        Refused: a value is wrong.
    """
    if not all(isinstance(value, str) for value in (one, two, pattern, group)) or group not in GROUPS:
        raise Refused("choose methods, pattern and group from their lists")
    free = pattern == "unstructured"
    sparsity = round(finite("Preview sparsity", percent) / 100, 6) if free else None
    chosen = None if group == "own" or not free else group
    model = look.recipes[0]
    return tuple(
        Recipe(
            method=method,
            sparsity=sparsity,
            pattern=pattern,
            group=chosen,
            schedule=model.schedule,
            seed=model.seed,
        )
        for method in (one, two)
    )


def _folded(opened: Opened, recipes: tuple[Recipe, Recipe], file: str) -> list[Any]:
    """Norms of the inputs, and what each row loses under either group by the second method."""
    from dataclasses import replace

    from wanda_core.inspection.layer import choose_mask, outlier_inputs, row_losses

    layer, side = opened.layer, opened.sides[1]
    outliers = outlier_inputs(layer.norms)
    losses = {"as shown above": row_losses(layer, side.mask)}
    if METHODS[side.recipe.method].score is not None:
        for group in ("output", "layer"):
            free = replace(side.recipe, pattern="unstructured", group=group)
            mask = choose_mask(layer, side.scored, free)
            losses[f"{GROUPS[group]}, {free.sparsity:.0%}"] = row_losses(layer, mask)
    return [
        chart_style.drawn(inputs_figure(layer.norms.numpy(), outliers), f"{file}-inputs"),
        chart_style.drawn(rows_figure(losses), f"{file}-rows"),
    ]


def window_around(shape: tuple[int, int], row: int, column: int) -> tuple[slice, slice]:
    """The window that has the weight in it; begins at a multiple of 16, so that it keeps still for small steps."""
    starts = (
        max(0, min((at - span // 2) // 16 * 16, size - span))
        for at, span, size in zip((row, column), SPAN, shape, strict=True)
    )
    return tuple(slice(s, min(size, s + span)) for s, span, size in zip(starts, SPAN, shape, strict=True))
