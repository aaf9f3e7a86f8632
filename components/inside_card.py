"""The card of the view Inside: what one opened layer shows, and the checks of what the page asks of it."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from components import figures, figures_layer, figures_map
from components.look import Look, Opened, open_layer
from components.words import name
from wanda_core.errors import Refused
from wanda_core.methods import METHODS
from wanda_core.recipe import Recipe

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
    from wanda_core import densities, inspection

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
    picked = inspection.weights_at(opened.layer, sides, slice(row, row + 1), slice(column, column + 1))
    plane = opened.layer.plane
    lines = [boundary(side, spread, plane, opened) for side, spread in zip(sides, spreads, strict=True)]
    file = f"{str(layer).replace('.', '-')}"
    pictures = (
        ("scores", figures_layer.histogram_figure(histograms, spreads, names)),
        (
            "plane",
            figures_layer.plane_figure(
                plane, lines, inspection.scattered(opened.layer, sides), picked, names
            ),
        ),
        (
            "mask",
            figures_map.density_figure([densities.mask_density(m) for m in drawn], shape, window, names),
        ),
        (
            "weights",
            figures_layer.window_figure(
                inspection.weights_at(opened.layer, sides, *window),
                recipes[0].parsed_pattern.among,
                (row, column),
                names,
            ),
        ),
    )
    return [
        _label(look, opened, recipes, histograms),
        *(figures.drawn(figure, f"{file}-{what}") for what, figure in pictures),
        _arithmetic(picked, recipes, names),
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

    from wanda_core import inspection

    layer, side = opened.layer, opened.sides[1]
    outliers = inspection.outlier_inputs(layer.norms)
    losses = {"as shown above": inspection.row_losses(layer, side.mask)}
    if METHODS[side.recipe.method].score is not None:
        for group in ("output", "layer"):
            free = replace(side.recipe, pattern="unstructured", group=group)
            mask = inspection.choose_mask(layer, side.scored, free)
            losses[f"{GROUPS[group]}, {free.sparsity:.0%}"] = inspection.row_losses(layer, mask)
    return [
        figures.drawn(figures_layer.inputs_figure(layer.norms.numpy(), outliers), f"{file}-inputs"),
        figures.drawn(figures_layer.rows_figure(losses), f"{file}-rows"),
    ]


def boundary(side: Any, spread: np.ndarray, plane: Any, opened: Opened) -> list[tuple[list, list]]:
    """Lines (sizes, norms) left of which weights go: of the 5%, 50% and 95% threshold."""
    method = METHODS[side.recipe.method]
    if method.score not in ("magnitude", "wanda"):
        return []
    norms = 10.0 ** plane.norms[[0, -1]]
    if side.recipe.group == "input" and not side.recipe.parsed_pattern.structured:
        thresholds = side.thresholds(slice(0, 1), slice(None))[0]
        own = opened.layer.norms.numpy()
        known = np.flatnonzero(np.isfinite(thresholds) & (own > 0))[:: max(1, len(own) // 500)]
        sizes = thresholds[known] / (own[known] if method.score == "wanda" else 1)
        return [(sizes, own[known])]
    levels = np.unique(spread[np.isfinite(spread) & (spread > 0)])
    if method.score == "magnitude":
        return [([level, level], list(norms)) for level in levels]
    return [(list(level / norms), list(norms)) for level in levels]


def window_around(shape: tuple[int, int], row: int, column: int) -> tuple[slice, slice]:
    """The window that has the weight in it; begins at a multiple of 16, so that it keeps still for small steps."""
    starts = (
        max(0, min((at - span // 2) // 16 * 16, size - span))
        for at, span, size in zip((row, column), SPAN, shape, strict=True)
    )
    return tuple(slice(s, min(size, s + span)) for s, span, size in zip(starts, SPAN, shape, strict=True))


def side_names(recipes: tuple[Recipe, Recipe]) -> list[str]:
    first, second = (name(recipe.method) for recipe in recipes)
    return [first, second] if first != second else [first, f"{second} too"]


def _label(look: Look, opened: Opened, recipes: tuple[Recipe, Recipe], histograms: Any) -> str:
    """Whose masks these are, how far they agree, and what the pictures leave out."""
    from wanda_core.inspection import Agreement

    agreement = Agreement.of(*(side.mask for side in opened.sides))
    sources = [
        f"{escape(label)}: "
        + ("<b>the run's own mask</b>" if own else "<b>preview</b> from dense statistics")
        for label, own in zip(side_names(recipes), opened.own, strict=True)
    ]
    notes = []
    if step := opened.layer.rows.step - 1:
        notes.append(
            f"Pictures of the whole are drawn from every {step + 1}th row; masks and shares are of all."
        )
    for label, histogram in zip(side_names(recipes), histograms, strict=True):
        if histogram.zeros:
            notes.append(
                f"{histogram.zeros:,} weights score 0 by {escape(label)} and have no place on a log axis; "
                f"{histogram.zeros - histogram.zeros_kept:,} of them go."
            )
    rows, columns = opened.layer.weight.shape
    return (
        f'<p class="label">{rows:,} × {columns:,}. {"; ".join(sources)}.</p><p class="verdict">The two differ on '
        f"<b>{agreement.differ:.1%}</b> of the weights: both keep {agreement.both_keep:.1%}, both remove "
        f'{agreement.both_prune:.1%}.</p><p class="hint">{" ".join(notes)}</p>'
    )


def _arithmetic(picked: Any, recipes: tuple[Recipe, Recipe], names: list[str]) -> str:
    """One weight's way to its fate, in numbers."""
    value, norm = picked.values.item(), picked.norms.item()
    lines = []
    for place, (recipe, label) in enumerate(zip(recipes, names, strict=True)):
        score, threshold = (part[place].item() for part in (picked.scores, picked.thresholds))
        kept = bool(picked.agreement.item() & (2 - place))
        how = {"magnitude": f"|{value:.5g}|", "wanda": f"|{value:.5g}| × {norm:.5g}"}.get(
            METHODS[recipe.method].score
        )
        fate = "<b>stays</b>" if kept else "<b>goes</b>"
        where = (
            f"group of {recipe.parsed_pattern.among}" if recipe.parsed_pattern.structured else recipe.group
        )
        against = (
            "decided while correcting"
            if METHODS[recipe.method].score is None
            else (
                "nothing goes"
                if math.isnan(threshold)
                else f"{'>' if score > threshold else '≤'} {threshold:.5g}, the highest that goes in its "
                + {"output": "row", "layer": "layer", "input": "column"}.get(where, where)
            )
        )
        lines.append(
            f"<li>{escape(label)}: score {f'{how} = ' if how else ''}{score:.5g}; {against}: it {fate}</li>"
        )
    return (
        f'<div class="arithmetic" aria-live="polite"><b>Weight at output {picked.rows.item()}, input '
        f"{picked.columns.item()}</b>: W = {value:.5g}, norm of its input {norm:.5g}<ul>{''.join(lines)}</ul></div>"
    )


def finite(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise Refused(f"{what} must be a number")
    return value
