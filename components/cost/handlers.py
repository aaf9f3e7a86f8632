"""What Cost's controls do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from components.cost import figures, report
from components.cost.files import result_file, saved_outcome
from components.cost.kept import keep, recorded_of, shown
from components.cost.outcome import Outcome
from components.cost.report_file import report_file
from components.cost.request import MOST_PERCENT, check_budget, check_limits, check_measure
from components.display.names import control
from components.display.status_line import failed, ready
from components.recipe.amounts import CHIPS
from components.request_checks import finite, whole
from components.workspace.defaults import DEFAULTS, default_text
from components.workspace.focus import Focus
from components.workspace.run_summary import as_json, summary_of
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.models.hub_id import is_hub_id
from wanda_core.models.named_sources import is_named

BUDGET = 10
"""Per cent of perplexity above the dense model's."""
SHOWN = ("run", "summary", "body", "curve", "reach", "table", "layers", "protocol")
"""Names of the components that show an outcome, in the order of `values_of`."""


def values_of(
    outcome: Outcome | None, source: object, percent: object, quantity: object, focus: object
) -> list[Any]:
    """Values for the components of `SHOWN`."""
    if outcome is None:
        hidden = gr.update(visible=False)
        return ["", report.nothing_yet(source), hidden, hidden, "", "", hidden, ""]
    budget = _budget_or_usual(percent)
    drawn = bool(outcome.dense) and len(outcome.rows) > 1
    return [
        outcome.run,
        report.summary(outcome),
        gr.update(visible=True),
        gr.update(value=figures.curve(outcome, budget), visible=True) if drawn else gr.update(visible=False),
        report.reach(outcome, budget) if drawn else "",
        report.table(outcome),
        layers_value(outcome, quantity, focus),
        report.protocol(outcome),
    ]


def layers_value(outcome: Outcome, quantity: object, focus: object) -> Any:
    """The map of the point in focus; before it is measured, of the first one that is."""
    index = outcome.index_of(focus) if isinstance(focus, Focus) else None
    if index not in outcome.layers:
        index = next(iter(outcome.layers), None)
    known = quantity if isinstance(quantity, str) and quantity in figures.QUANTITIES else "error"
    drawn = figures.layers_map(outcome, index, known)
    return gr.update(visible=False) if drawn is None else gr.update(value=drawn, visible=True)


def update(outcome: Outcome, values: Mapping[str, Any]) -> list[Any]:
    """Values for `SHOWN` and the browser's own store, from what a run has found so far."""
    keep(outcome)
    shown_now = values_of(
        outcome,
        outcome.protocol["source"],
        values.get("budget"),
        values.get("layers_by"),
        values.get("focus"),
    )
    over = len(outcome.rows) == outcome.planned
    return [*shown_now, summary_for_browser(outcome) if over else gr.skip()]


def summary_for_browser(outcome: Outcome) -> str:
    setup = outcome.asked.setup if outcome.asked else None
    return as_json([summary_of(outcome.run, outcome.protocol, outcome.rows, _link(outcome, setup))])


def _link(outcome: Outcome, setup: Setup | None) -> str:
    """The query that asks for this again, without what concerns this machine or a visitor's own text alone."""
    if setup is None or outcome.asked is None:
        return ""
    recipes = [point.recipe for point in outcome.asked.points if point.recipe]
    amounts = dict.fromkeys(
        r.pattern if r.pattern != "unstructured" else f"{100 * (r.sparsity or 0):g}" for r in recipes
    )
    said: dict[str, Any] = {
        "amounts": ",".join(amount for amount in amounts if amount in CHIPS),
        "other_amounts": ",".join(amount for amount in amounts if amount not in CHIPS),
        "methods": ",".join(dict.fromkeys(r.method for r in recipes)),
        "seeds": ",".join(dict.fromkeys(str(r.seed) for r in recipes)),
        "bits": ",".join(dict.fromkeys(str(r.bits) for r in recipes)),
        "schedule": next((r.schedule for r in recipes), ""),
        "recovery": next((r.recovery for r in recipes if r.recovery != "none"), ""),
        "order": next((r.order for r in recipes if r.order != "none"), ""),
        "samples": setup.samples,
        "length": setup.length,
        "windows": setup.windows,
    }
    if is_hub_id(setup.source) or is_named(setup.source):
        said["source"] = setup.source
    for role in ("calibration", "evaluation"):
        text = getattr(setup, role)
        if text not in ("own", "file", "dataset") and text != default_text(setup.source):
            said[role] = text
    usual = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in DEFAULTS.items()}
    return urlencode({name: value for name, value in said.items() if value not in ("", usual.get(name))})


def budget_moved(run: object, percent: object) -> list[Any]:
    """Curve and sentence for another budget."""
    try:
        outcome = shown(run)
        value = check_budget(percent)
    except Refused as error:
        return [gr.skip(), failed(error)]
    if outcome is None:
        return [gr.skip(), gr.skip()]
    return [figures.curve(outcome, value), report.reach(outcome, value)]


def line_dragged(run: object, event: gr.EventData) -> Any:
    """The slider, for the perplexity that the budget's line was moved to."""
    try:
        outcome = shown(run)
        data = event._data
        moved = data.get("perplexity") if isinstance(data, dict) else None
        if outcome is None or outcome.dense is None:
            return gr.skip()
        ratio = finite("The budget", moved) / outcome.dense["perplexity"]
    except Refused:
        return gr.skip()
    return min(MOST_PERCENT, max(1, round(100 * (ratio - 1))))


def picked(run: object, before: object, event: gr.EventData) -> list[Any]:
    """The point in focus after a click on a point or a row, and what is said where it cannot be opened."""
    try:
        outcome = shown(run)
        data = event._data
        index = whole("The point", data.get("point") if isinstance(data, dict) else None, 0, 10**6)
        if outcome is None or index >= len(outcome.rows):
            raise Refused("there is no such point: press Run")
        focus = outcome.focus_of(index)
        if focus is None:
            raise Refused(
                "the points of a saved file cannot be opened: press Run to measure them here"
                if outcome.origin == "saved"
                else "choose a pruned point"
            )
    except Refused as error:
        return [gr.skip(), failed(error)]
    return [gr.skip() if focus == before else focus, ""]


def refocus(run: object, focus: object) -> Any:
    """A point of what is shown now: the same recipe if it is among it, else half pruned, else the first."""
    try:
        outcome = shown(run)
    except Refused:
        return gr.skip()
    asked = outcome.asked if outcome else None
    if outcome is None or asked is None or not isinstance(focus, Focus):
        return gr.skip()
    offered = [
        Focus(replace(asked.setup, calibration=c.text, samples=c.samples, seed=c.seed), recipe)
        for recipe, c in ((point.recipe, point.calibration) for point in asked.points)
        if recipe and c
    ]
    if not offered or focus in offered:
        return gr.skip()
    if outcome.origin == "recorded" and focus.setup.source == asked.setup.source:
        return gr.skip()  # another point of the same model, as a link may name it
    same = [each for each in offered if each.recipe == focus.recipe]
    half = [each for each in offered if each.recipe.sparsity == 0.5]
    return (same or half or offered)[0]


def focused(run: object, quantity: object, focus: object) -> list[Any]:
    """The mark of the row in focus, and the map of its layers."""
    try:
        outcome = shown(run)
    except Refused:
        outcome = None
    index = outcome.index_of(focus) if outcome and isinstance(focus, Focus) else None
    mark = f'<span data-point="{-1 if index is None else index}"></span>'
    return [mark, layers_value(outcome, quantity, focus) if outcome and index is not None else gr.skip()]


def follow_model(
    own: Outcome | None, run: object, source: object, percent: object, quantity: object, focus: object
) -> list[Any]:
    """What is shown is of the model that is selected: the visitor's own last results where they are of that model, else
    its recorded ones, or that there are none yet."""
    try:
        outcome = shown(run)
    except Refused:
        outcome = None
    if outcome is not None and outcome.asked is not None and outcome.asked.setup.source == source:
        return [gr.skip()] * len(SHOWN)
    mine = own if own is not None and own.asked is not None and own.asked.setup.source == source else None
    return values_of(mine or recorded_of(source), source, percent, quantity, focus)


def changes(run: object, values: Mapping[str, Any], sources: Sequence[str]) -> str:
    """Which settings of the panel are others than those that the shown results were measured by."""
    try:
        outcome = shown(run)
        now = check_measure(values, sources)
    except Refused:
        return ""
    if outcome is None:
        return ""
    if outcome.asked is None:
        return report.changed([])
    then = outcome.asked
    if then.setup.source != now.setup.source:
        return ""  # the results of that model are about to be shown
    names = [
        control(field.name)
        for field in fields(Setup)
        if field.name != "seed" and getattr(then.setup, field.name) != getattr(now.setup, field.name)
    ]
    if not names:  # else the points differ by that
        if set(now.points) - set(then.points):
            names.append("points")
        if now.int8 and not then.int8:
            names.append("int8")
        if now.smaller and now.smaller != then.smaller:
            names.append("smaller model")
    return report.changed(names) if names else ""


def ask_limits(
    run: object, percent: object, other: object, values: Mapping[str, Any], sources: Sequence[str]
) -> list[Any]:
    """The amounts at the budget's limit, added to the panel's; what is said beside the button; whether to run."""
    try:
        outcome = shown(run)
        if outcome is None:
            raise Refused("press Run first: the limit lies between measured points")
        more = check_limits(outcome, check_budget(percent), check_measure(values, sources))
    except Refused as error:
        return [gr.skip(), failed(error), False]
    before = other if isinstance(other, str) and other.strip() else ""
    said = " and ".join(f"{end}%" for end in more)
    added = ", ".join([*([before.strip().rstrip(",")] if before else []), *more])
    return [added, ready(f"Added {said} to How much, and pressed Run for it."), True]


def open_saved(file: object, source: object, percent: object, quantity: object) -> list[Any]:
    """A saved file's results, and what is said beside its button."""
    try:
        outcome = saved_outcome(file)
    except Refused as error:
        return [*([gr.skip()] * len(SHOWN)), failed(error)]
    keep(outcome)
    return [*values_of(outcome, source, percent, quantity, None), ready("This is what the file holds.")]


def file_of(run: object, kind: str) -> list[Any]:
    """The rows as a file to download, `csv` or `json`, and what is said where there is none."""
    try:
        outcome = shown(run)
        if outcome is None:
            raise Refused("there is nothing to download yet: press Run")
        return [result_file(outcome, kind), ""]
    except Refused as error:
        return [gr.skip(), failed(error)]


def report_of(run: object, percent: object, more: Callable[[Setup], Mapping[str, Any]]) -> list[Any]:
    """The report as a file to download, and what is said where there is none.

    Args:
        percent: the budget that it draws.
        more: what else was found on a model, as arguments of `report_html`.
    """
    try:
        outcome = shown(run)
        if outcome is None:
            raise Refused("there is nothing to report yet: press Run")
        found = more(outcome.asked.setup) if outcome.asked else {}
        return [report_file(outcome, _budget_or_usual(percent), found), ""]
    except Refused as error:
        return [gr.skip(), failed(error)]


def _budget_or_usual(percent: object) -> float:
    try:
        return check_budget(percent)
    except Refused:
        return BUDGET
