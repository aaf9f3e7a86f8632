"""What Inside says in words of the map, the layer and the weight."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from components.display.names import name
from components.inside.kept_inspections import RECORDED_KEY, Look
from components.inside.opened_layer import Opened
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

QUANTITIES = {
    "differ": ("disagreement", "Brighter: the two methods remove more different weights there."),
    "error": ("output error", "Brighter: the layer's output moved more; compare the two maps."),
    "sparsity": (
        "sparsity reached",
        "How much went from each layer; even where every row gives the same share.",
    ),
    "outliers": ("outlier inputs", "Brighter: more inputs are over five times as loud as the layer's mean."),
}


def map_note_html(quantity: str) -> str:
    return f'<p class="hint">{QUANTITIES[quantity][1]} Click a cell to open that layer.</p>'


def layer_title(look: Look) -> str:
    protocol, source = look.protocol, escape(look.source)
    read = (
        f"Inputs read on {protocol['samples']} windows of {protocol['length']} tokens of "
        f"{escape(protocol['calibration'])}, seed {protocol['seed']}, {escape(protocol['device'])}, "
        f"{protocol['dtype']}, torch {escape(protocol['torch'])}."
    )
    methods = " and ".join(
        f"{name(r.method)} {r.pattern if r.parsed_pattern.structured else f'{r.sparsity:.0%}'}"
        for r in look.recipes
    )
    if look.name == RECORDED_KEY:
        return (
            f'<p class="label recorded"><b>A recorded look</b> into {source}, made on {escape(protocol["date"])}: '
            f"{methods}, preview. The weights of one layer are real and here to play with. {read}</p>"
        )
    own = {(True, True): "the run's own masks", (False, False): "preview from the dense model's statistics"}
    masks = own.get(look.own, "the run's own masks where it made some, else preview")
    return f'<p class="label"><b>{source}</b>, {methods}: {masks}. {read}</p>'


def side_names(recipes: tuple[Recipe, Recipe]) -> list[str]:
    first, second = (name(recipe.method) for recipe in recipes)
    return [first, second] if first != second else [first, f"{second} too"]


def source_label(look: Look, opened: Opened, recipes: tuple[Recipe, Recipe], histograms: Any) -> str:
    """Whose masks these are, how far they agree, and what the pictures leave out."""
    from wanda_core.inspection.agreement import Agreement

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


def arithmetic_html(picked: Any, recipes: tuple[Recipe, Recipe], names: list[str]) -> str:
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
