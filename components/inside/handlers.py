"""What Inside's controls do: pure functions of what is shown, the point in focus and the controls' values, by name.
None of them waits for a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from components.display.chart_style import drawn
from components.display.names import name
from components.display.status_line import failed
from components.inside.card import card
from components.inside.inspection import Inspection, inspection_named, keep, kept_inspection
from components.inside.job import Inspected, InspectLayers, previewable
from components.inside.map_figures import map_figure
from components.inside.parts import Parts
from components.inside.report import QUANTITIES, map_note_html, nothing_html, side_names, title_html
from components.inside.settings import OFFERED, Asked, preview_of
from components.jobs.runner import import_engine
from components.recipe.request import check_setup
from components.request_checks import whole
from components.workspace.defaults import source_labels
from components.workspace.focus import Focus
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """What a session looks at."""

    inspection: str | None
    """Name of the inspection; None: of this point's model there is none yet."""
    source: str
    recipe: Recipe
    """Of the point in focus."""
    setup: str
    """`Setup.digest` of the point in focus."""

    def inspected(self) -> Inspection:
        """
        Raises:
            Refused: there is no inspection, or it is no longer kept.
        """
        if self.inspection is None:
            raise Refused("press Inspect layers")
        return inspection_named(self.inspection, self.source)


def point_of(values: Values, sources: Sequence[str]) -> Focus:
    """The point to look at: the one in focus; where the panel has another model chosen since, that recipe on it.

    Raises:
        Refused: the panel's settings are wrong.
    """
    focus = values["focus"]
    model = (values.get("source"), values.get("revision") or None, values.get("dtype"))
    if model == (focus.setup.source, focus.setup.revision, focus.setup.dtype):
        return focus
    setup, _ = check_setup(values, sources)
    return Focus(setup, replace(focus.recipe, seed=setup.seed))


def make_job(values: Values, sources: Sequence[str]) -> InspectLayers:
    """
    Raises:
        Refused: a value is wrong.
    """
    focus = point_of(values, sources)
    asked = Asked.of(values, focus.recipe)
    return InspectLayers(focus, replace(asked, as_pruned=True).recipes(focus.recipe)[1], asked.layer)


def found(outcome: Inspected, values: Values) -> Parts:
    """The whole view for what a job found. A page that was loaded anew has its settings from the link: it is told
    only that something is there."""
    inspection, focus = outcome.inspection, outcome.focus
    keep(inspection, focus.setup)  # on ZeroGPU the job ran in another process than this one, the page's
    if not values:
        return Parts(arrived=inspection.name)
    values = {**values, "compare": inspection.recipes[1].method}
    # What a run alone can make is shown as it was made.
    view = _showing(inspection, focus, values, fresh=previewable(focus.recipe))
    return view | Parts(focus=focus)


def opened_tab(values: Values, sources: Sequence[str]) -> Parts:
    """The whole view for the point in focus, unless it is shown already."""
    try:
        focus, shown = point_of(values, sources), values["shown"]
        inspection = kept_inspection(focus.setup)
        now = _shown(inspection, focus)
        if now == shown:
            return Parts()
        if inspection is None:
            source = source_labels().get(focus.setup.source, focus.setup.source).split(":")[0]
            return Parts(shown=now, title=nothing_html(source), body=gr.update(visible=False))
        import_engine()
        return _showing(inspection, focus, values, fresh=shown is None or shown.inspection is None)
    except Refused as error:
        return Parts(title=failed(error))


def arrived(values: Values, sources: Sequence[str]) -> Parts:
    """The whole view, where it was opened before its inspection, or the point in focus, was found."""
    return Parts() if values["shown"] is None else opened_tab(values, sources)


def redrawn(values: Values) -> Parts:
    """The card after a control was moved."""
    try:
        shown = _looked_at(values)
        return card(
            shown.inspected(), shown.recipe, Asked.of(values, shown.recipe), values.get("unfolded") is True
        )
    except Refused as error:
        return _cannot(error)


def previewed(values: Values) -> Parts:
    """The card after one of the preview's controls was moved: no longer the point as it is."""
    values = {**values, "as_pruned": False}
    free = values.get("preview_pattern") == "unstructured"
    return redrawn(values) | Parts(
        as_pruned=False, preview=gr.update(interactive=free), preview_group=gr.update(interactive=free)
    )


def shown_as_pruned(values: Values) -> Parts:
    """The card after `as_pruned` was ticked: the preview's controls go back to the point in focus."""
    try:
        shown = _looked_at(values)
    except Refused as error:
        return _cannot(error)
    if values["as_pruned"] is not True:
        return redrawn(values)
    return redrawn({**values, **preview_of(shown.recipe)}) | _preview_parts(shown.recipe)


def clicked(event: gr.EventData, values: Values) -> Parts:
    """A click on the map opens a layer, one on another picture a weight."""
    data = event._data if isinstance(event._data, dict) else {}
    chart, x, y = (data.get(part) for part in ("chart", "x", "y"))
    if chart != "map":
        try:
            row, column = (
                whole("a weight's place", round(v) if isinstance(v, float) else v, 0, 10**7) for v in (y, x)
            )
        except (Refused, OverflowError, ValueError):
            return Parts()
        return redrawn({**values, "weight": f"{row},{column}"})
    try:
        shown = _looked_at(values)
        inspection = shown.inspected()
        at = [layer.name for layer in inspection.layers if (layer.block, layer.kind) == (x, y)]
        if not at:
            return Parts()
        inspection.weight(at[0])
        now = {**values, "layer": at[0], "weight": ""}
        asked = Asked.of(now, shown.recipe)
    except Refused as error:  # said where the click was
        return Parts(map_note=failed(error))
    return redrawn(now) | Parts(
        layer=at[0],
        map=_map(inspection, asked.map_by, at[0]),
        map_note=map_note_html(inspection, asked.map_by),
    )


def recoloured(values: Values) -> Parts:
    """Map and its sentence, by another quantity or with another layer marked."""
    try:
        shown = _looked_at(values)
        inspection = shown.inspected()
        asked = Asked.of(values, shown.recipe)
    except Refused as error:
        return Parts(map_note=failed(error))
    return Parts(
        map=_map(inspection, asked.map_by, asked.layer), map_note=map_note_html(inspection, asked.map_by)
    )


def chosen_layer(values: Values) -> Parts:
    """Card and map after another layer was chosen from the list."""
    values = {**values, "weight": ""}
    return redrawn(values) | recoloured(values)


def _looked_at(values: Values) -> Shown:
    shown = values["shown"]
    if not isinstance(shown, Shown):
        raise Refused("press Inspect layers")
    return shown


def _shown(inspection: Inspection | None, focus: Focus) -> Shown:
    name = None if inspection is None else inspection.name
    return Shown(name, focus.setup.source, focus.recipe, focus.setup.digest)


def _showing(inspection: Inspection, focus: Focus, values: Values, fresh: bool) -> Parts:
    """Everything, for an inspection. Settings that a link brought are kept where they fit.

    Args:
        fresh: nothing was shown before, so that the preview may be a link's.
    """
    asked = Asked.of(values, focus.recipe)
    names = {layer.name for layer in inspection.layers}
    if asked.layer not in names:
        openable = inspection.openable()
        at_hand = [layer for layer in inspection.layers if layer.name in openable]
        best = max(at_hand or inspection.layers, key=lambda layer: layer.differ)
        asked = replace(asked, layer=best.name, weight=None)
    if not fresh:
        asked = replace(asked, as_pruned=True)
    preview = _preview_parts(focus.recipe) if asked.as_pruned else Parts()
    whole_view = Parts(
        shown=_shown(inspection, focus),
        title=title_html(inspection),
        body=gr.update(visible=True),
        map=_map(inspection, asked.map_by, asked.layer),
        map_note=map_note_html(inspection, asked.map_by),
        layer=gr.update(choices=_choices(inspection), value=asked.layer),
        compare=gr.update(
            choices=[(name(method), method) for method in OFFERED if method != focus.recipe.method],
            value=asked.compare,
        ),
        as_pruned=asked.as_pruned,
    )
    try:
        return whole_view | preview | card(inspection, focus.recipe, asked, values.get("unfolded") is True)
    except Refused as error:
        return whole_view | preview | _cannot(error)


def _preview_parts(recipe: Recipe) -> Parts:
    """The preview's controls at a point as it is."""
    free = recipe.pattern == "unstructured"
    held = preview_of(recipe)
    return Parts(
        preview=gr.update(value=held["preview"], interactive=free),
        preview_pattern=held["preview_pattern"],
        preview_group=gr.update(value=held["preview_group"], interactive=free),
        as_pruned=True,
    )


def _choices(inspection: Inspection) -> list[tuple[str, str]]:
    """Labels and names of the layers; an expert is called by its whole name."""
    places = Counter((layer.block, layer.kind) for layer in inspection.layers)
    return [
        (
            f"block {layer.block}, {layer.kind}" if places[layer.block, layer.kind] == 1 else layer.name,
            layer.name,
        )
        for layer in inspection.layers
    ]


def _map(inspection: Inspection, quantity: Any, layer: str) -> Any:
    figure = map_figure(inspection.layers, quantity, inspection.recipes, inspection.openable(), layer)
    source = f"{inspection.source}, {' and '.join(side_names(inspection.recipes))}"
    return drawn(figure, f"map-{quantity}", title=f"All layers: {QUANTITIES[quantity][0]}", source=source)


def _cannot(error: Refused) -> Parts:
    """Why there is no picture, in the card's place."""
    hidden = gr.update(visible=False)
    return Parts(label=failed(error), left=hidden, right=hidden, below=hidden)
