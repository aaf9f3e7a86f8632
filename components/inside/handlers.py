"""What Inside's controls do."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.display.chart_style import drawn
from components.display.status_line import failed
from components.inside.card import card_values
from components.inside.job import pair
from components.inside.kept_inspections import Look, keep, look_named, recorded
from components.inside.map_figures import map_figure
from components.inside.report import QUANTITIES, layer_title, map_note_html, side_names
from components.jobs.runner import import_engine
from components.recipe.request import check_panel
from components.request_checks import finite
from wanda_core.errors import Refused


class Ran:
    """Whether there is a run by the recipe panel's settings that the view does not show yet."""

    def __init__(self, sources: list[str]) -> None:
        self.sources = sources

    def __call__(self, shown: Any, source: Any, *values: Any) -> bool:
        from components.workspace.measured_rows import has_run

        try:
            setup, recipes = check_panel(source, self.sources, *values)
            look = look_named(shown)
        except Refused:
            return False
        return has_run(setup, pair(recipes)) and not (
            look.setup == setup.digest and look.recipes == pair(recipes) and any(look.own)
        )


def first_look(shown: Any) -> Any:
    """Values of the whole view where it shows nothing yet: the recorded look. Made when the view is opened, because it
    takes torch, which the first screen does without."""
    if shown:
        return gr.skip()
    import_engine()
    look = recorded()
    return _showing(look, next(iter(look.norms)), 20, 40)


def redraw(key: Any, layer: Any, *settings: Any) -> list[Any]:
    """Values for the card after a control was moved."""
    try:
        return card_values(look_named(key), layer, *settings)
    except Refused as error:
        return _refused(error)


def clicked(event: gr.EventData, key: Any, layer: Any, *settings: Any) -> list[Any]:
    """A click on a picture opens a layer or a weight."""
    *settings, row, column, unfolded = settings
    try:
        look = look_named(key)
        chart, x, y = (event._data.get(part) for part in ("chart", "x", "y"))
        if chart == "map":
            layer, row, column = _layer_at(look, x, y), 0, 0
        else:
            row, column = round(finite("Row of the weight", y)), round(finite("Input of the weight", x))
        return [layer, row, column, *card_values(look, layer, *settings, row, column, unfolded)]
    except Refused as error:
        return [gr.skip()] * 3 + _refused(error)


def recolour(key: Any, quantity: Any) -> list[Any]:
    """Map and sentence for another quantity."""
    try:
        look = look_named(key)
        if not isinstance(quantity, str) or quantity not in QUANTITIES:
            raise Refused("choose a colour from the list")
    except Refused as error:
        return [gr.skip(), failed(error)]
    return [_map(look, quantity), map_note_html(quantity)]


def opening(look: Look) -> list[Any]:
    """Values of the whole view for a look that was just taken: the layer where the methods differ most."""
    keep(look)
    return _showing(look, max(look.layers, key=lambda summary: summary.differ).name, 0, 0)


def _showing(look: Look, layer: str, row: int, column: int) -> list[Any]:
    settings = _settings(look)
    return [
        look.name,
        layer_title(look),
        _map(look, "differ"),
        gr.update(choices=_names(look), value=layer),
        *settings,
        row,
        column,
        *card_values(look, layer, *settings, row, column, False),
    ]


def _settings(look: Look) -> tuple[str, str, float, str, str]:
    """Values of the controls for a look's own recipes."""
    first, second = look.recipes
    return first.method, second.method, round(100 * first.sparsity), first.pattern, "own"


def _layer_at(look: Look, block: Any, kind: Any) -> str:
    """The first layer of that block and kind."""
    for summary in look.layers:
        if summary.block == block and summary.kind == kind:
            return summary.name
    raise Refused("choose a layer from the map or the list")


def _names(look: Look) -> list[tuple[str, str]]:
    return [(f"block {layer.block}, {layer.kind} · {layer.name}", layer.name) for layer in look.layers]


def _map(look: Look, quantity: str) -> Any:
    figure = map_figure(look.layers, quantity, side_names(look.recipes))
    return drawn(figure, f"map-{quantity}")


def _refused(message: Refused) -> list[Any]:
    return [failed(message), *[gr.skip()] * 7]
