"""One weight's way to pruned or kept as a number line for each method: its score against its group's threshold."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from components.display.chart_style import colour_of
from components.display.names import name
from wanda_core.method.recipe import Recipe

if TYPE_CHECKING:
    from wanda_core.inspection.decision import Decision

WIDTH, HEIGHT = 360, 34
WIDEST = 2.4
"""How many thresholds the line spans at least; a score beyond stretches it."""


def arithmetic_html(
    place: tuple[int, int],
    value: float,
    norm: float,
    decisions: tuple[Decision, Decision],
    recipes: tuple[Recipe, Recipe],
) -> str:
    """The weight, its input's norm, and what each method makes of them."""
    row, column = place
    sides = "".join(_side(value, norm, *each) for each in zip(decisions, recipes, strict=True))
    return (
        f'<div class="arithmetic" aria-live="polite" data-weight="{row},{column}"><p>Output row {row}, input {column}: '
        f'<b class="w">W = {value:.5g}</b>, <b class="norm">‖X‖ = {norm:.5g}</b></p>{sides}</div>'
    )


def _side(value: float, norm: float, decision: Decision, recipe: Recipe) -> str:
    fate = "kept" if decision.kept else "pruned"
    label = f'<b style="border-color:{colour_of(recipe.method)}">{escape(name(recipe.method))}</b>'
    if decision.score is None:
        how = "chose while updating the weights, so there is no score to show"
        return f'<section><p>{label} {how}: <b class="{fate}">{fate}</b></p></section>'
    made = {"|W|": f"|{value:.4g}|", "|W| × ‖X‖": f"|{value:.4g}| × {norm:.4g}"}.get(decision.formula or "")
    score = (
        f'{f"{decision.formula} = {made} = " if made else "score "}<b class="score">{decision.score:.4g}</b>'
    )
    if decision.threshold is None:
        against = f"nothing of its {decision.group} is pruned"
    else:
        sign = ">" if decision.score > decision.threshold else "≤"
        against = f"{sign} {decision.group} threshold {decision.threshold:.4g}"
    return (
        f'<section><p>{label} {score} {against}: <b class="{fate}">{fate}</b></p>{_line(decision)}</section>'
    )


def _line(decision: Decision) -> str:
    """The picture of it: pruned left of the threshold, kept right of it, competitors as ticks, the weight as a dot."""
    assert decision.score is not None
    threshold = decision.threshold
    top = max(decision.score * 1.08, (threshold or 0) * WIDEST, 1e-30)
    if threshold is None:
        top = max(top, float(decision.scores.max(initial=0)) * 1.05)

    def x(score: float) -> float:
        return round(4 + (WIDTH - 8) * min(1.0, score / top), 1)

    at = x(decision.score)
    ticks = {True: "", False: ""}
    for score, kept in zip(decision.scores.tolist(), decision.kept_scores.tolist(), strict=True):
        if score <= top:
            ticks[kept] += f"M{x(score)} 15v8"
    cut = ""
    if threshold is not None:
        edge = x(threshold)
        anchor = "end" if edge > WIDTH / 2 else "start"
        shift = -4 if edge > WIDTH / 2 else 4
        cut = (
            f'<rect class="zone" x="0" y="12" width="{edge}" height="14"/>'
            f'<line class="cut" x1="{edge}" x2="{edge}" y1="2" y2="32"/>'
            f'<text x="{edge + shift}" y="9" text-anchor="{anchor}">threshold</text>'
        )
    return (
        f'<svg class="number-line" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Score {decision.score:.4g} '
        f'of {top:.4g}, {"kept" if decision.kept else "pruned"}">{cut}<path class="axis" d="M0 26H{WIDTH}"/>'
        f'<path class="tick-pruned" d="{ticks[False]}"/><path class="tick-kept" d="{ticks[True]}"/>'
        f'<circle class="{"kept" if decision.kept else "pruned"}" cx="{at}" cy="19" r="6"/></svg>'
    )
