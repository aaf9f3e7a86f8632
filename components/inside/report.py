"""What Inside says in words of the map, the layer and the weight."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from components.display.html import model_name
from components.display.names import point
from wanda_core.method.recipe import Recipe

if TYPE_CHECKING:
    from components.inside.inspection import Inspection
    from components.inside.opened_layer import Opened

QUANTITIES = {
    "differ": ("disagreement", "Brighter: the two methods disagree on more weights."),
    "error": ("output error", "Brighter: the layer's output moved more; compare the two maps."),
    "sparsity": ("sparsity", "Brighter: more of the layer is pruned; compare the two maps."),
    "outliers": ("outlier inputs", "Brighter: more inputs are over five times as loud as the layer's mean."),
}
READY = "One pass over the calibration text; after that any layer opens instantly."


def map_note_html(inspection: Inspection, quantity: str) -> str:
    """What the map's colours say, of which two methods, and what can be opened."""
    note = QUANTITIES[quantity][1]
    shown = [layer for layer in inspection.layers if quantity == "sparsity"]
    if shown and max(max(s.sparsity) for s in shown) - min(min(s.sparsity) for s in shown) < 0.0005:
        note = f"Every layer reaches {shown[0].sparsity[0]:.1%} by both methods."
    openable = inspection.openable()
    click = "Click a cell to open its layer."
    if len(openable) < len(inspection.layers):
        click = (
            f"Click an outlined cell to open its layer: the weights of {len(openable)} of "
            f"{len(inspection.layers)} are at hand. Inspect layers opens them all."
        )
    both = " and ".join(side_names(inspection.recipes))
    return f'<p class="hint">{escape(both)}. {note} {click}</p>'


def title_html(inspection: Inspection) -> str:
    """What was inspected, and on what text."""
    protocol = inspection.protocol
    read = (
        f"Inputs read on {protocol['samples']} windows of {protocol['length']} tokens of "
        f"{escape(protocol['calibration'])}, seed {protocol['seed']}, {escape(protocol['device'])}, "
        f"{escape(protocol['dtype'])}, torch {escape(protocol['torch'])}."
    )
    if inspection.recorded:
        return (
            f'<p class="label recorded"><b>A recorded inspection</b> of {escape(model_name(protocol))}, made on '
            f"{escape(protocol['date'])}; norms and weights are real. {read}</p>"
        )
    return f'<p class="label"><b>{escape(model_name(protocol))}</b>. {read}</p>'


def nothing_html(source: str) -> str:
    """Before anything of that model was inspected."""
    return f'<p class="verdict">Which weights of {escape(source)} are pruned, and why? Press <b>Inspect layers</b>.</p>'


def side_names(recipes: tuple[Recipe, Recipe]) -> tuple[str, str]:
    """`Wanda 50%` and what it is compared with."""
    first, second = (point(recipe.as_dict()) for recipe in recipes)
    return first, second


def label_html(opened: Opened, recipes: tuple[Recipe, Recipe]) -> str:
    """Whose masks these are, and how far they agree."""
    from wanda_core.inspection.agreement import Agreement

    agreement = Agreement.of(*(side.mask for side in opened.sides))
    sources = [
        f"{escape(label)}: {'<b>its own mask</b>' if own else '<b>preview</b>'}"
        for label, own in zip(side_names(recipes), opened.own, strict=True)
    ]
    notes = []
    if not all(opened.own):
        notes.append("A preview is chosen from the dense model's statistics; Run makes the point's own mask.")
        if recipes[0].allocation != "uniform":
            notes.append("It prunes every layer by the same share, unlike the point in focus.")
    if any("+" in recipe.method for recipe in recipes):
        notes.append("ADMM then adjusts the kept weights; the values shown are the dense ones.")
    rows, columns = opened.layer.weight.shape
    return (
        f'<p class="differ">The two differ on <b>{agreement.differ:.1%}</b> of {rows:,} × {columns:,} weights: both '
        f"keep {agreement.both_keep:.1%}, both prune {agreement.both_prune:.1%}.</p>"
        f'<p class="label">{"; ".join(sources)}. {" ".join(notes)}</p>'
    )


def zeros_html(opened: Opened, recipes: tuple[Recipe, Recipe], histograms: Any) -> str:
    """What the folded pictures leave out."""
    notes = []
    if step := opened.layer.rows.step - 1:
        notes.append(
            f"Pictures of the whole are drawn from every {step + 1}th row; masks and shares are of all."
        )
    for label, histogram in zip(side_names(recipes), histograms, strict=True):
        if histogram.zeros:
            notes.append(
                f"{histogram.zeros:,} weights score 0 by {escape(label)} and have no place on a log axis; "
                f"{histogram.zeros - histogram.zeros_kept:,} of them are pruned."
            )
    return f'<p class="hint">{" ".join(notes)}</p>' if notes else ""
