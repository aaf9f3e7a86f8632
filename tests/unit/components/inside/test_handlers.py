"""What the view shows for what a visitor does, without a page: the recorded inspection, wrong values, no waiting."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from components.display.chart_style import PlotData
from components.inside import handlers
from components.inside.inspection import RECORDED_NAME, recorded
from components.inside.parts import Parts
from components.workspace import models
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from tests.unit.components.inside.test_settings import HOSTILE
from wanda_core import Recipe

SETUP = Setup("smollm2", "pydoc", "pydoc")
PANEL = {"source": "smollm2", "revision": "", "dtype": "auto"}


def values(focus: Recipe | None = None, **changed: Any) -> dict[str, Any]:
    point = Focus(SETUP, focus or Recipe(method="wanda", sparsity=0.5))
    return {**PANEL, "focus": point, "shown": None, "map_by": "differ", **changed}


def opened(**changed: Any) -> tuple[Parts, dict[str, Any]]:
    """The view after its tab was opened, and the values that its controls then hold."""
    given = values(**changed)
    parts = handlers.opened_tab(given, ["smollm2"])
    held = {key: getattr(parts, key) for key in ("layer", "weight", "compare", "as_pruned")}
    held = {key: value["value"] if isinstance(value, dict) else value for key, value in held.items()}
    return parts, {**given, **held, "shown": parts.shown}


def test_the_recorded_inspection_fills_the_view() -> None:
    parts, held = opened()
    assert "A recorded inspection" in parts.title
    assert held["layer"] in recorded().weights
    assert isinstance(parts.plane, PlotData)
    assert isinstance(parts.window, PlotData)
    assert parts.histogram is None  # folded
    assert re.search(r"Wanda.*?threshold.*?Magnitude.*?threshold", parts.arithmetic)
    again = handlers.opened_tab({**values(), "shown": parts.shown}, ["smollm2"])
    assert all(part is None for part in again.listed())


def test_a_link_names_layer_and_weight() -> None:
    layer = "model.layers.10.self_attn.k_proj"
    parts, held = opened(layer=layer, weight="24,247", compare="ria", as_pruned=False, preview=70)
    assert (held["layer"], held["weight"], held["compare"]) == (layer, "24,247", "ria")
    assert 'data-weight="24,247"' in parts.arithmetic
    assert "Wanda 70%" in parts.label
    assert "RIA 70%" in parts.label
    _, held = opened(layer="no.such.layer", weight="24,247")
    assert held["layer"] in recorded().weights


def test_another_model_asks_for_an_inspection() -> None:
    point = Focus(Setup("pocket", "stories", "stories"), Recipe(method="wanda"))
    parts = handlers.opened_tab({**values(), "source": "pocket", "focus": point}, ["smollm2", "pocket"])
    assert "Press <b>Inspect layers</b>" in parts.title
    assert parts.body["visible"] is False
    assert "failed" in handlers.redrawn({**values(), "shown": parts.shown}).label


@pytest.mark.parametrize(("name", "value"), HOSTILE)
def test_a_wrong_value_is_answered_in_a_sentence(name: str, value: Any) -> None:
    _, held = opened()
    parts = handlers.redrawn({**held, name: value})
    assert "failed" in parts.label
    assert parts.left["visible"] is False
    assert parts.plane is None


def test_sparsegpt_is_not_previewed_and_says_so() -> None:
    focus = Recipe(method="sparsegpt", sparsity=0.5)
    parts, _ = opened(focus=focus)
    assert "SparseGPT chooses weights while updating them, so it cannot be previewed" in parts.label
    assert parts.left["visible"] is False
    assert isinstance(parts.map, PlotData)


def test_a_cell_opens_its_layer_or_says_beside_the_map_why_not() -> None:
    _, held = opened()
    cell = SimpleNamespace(_data={"chart": "map", "x": 10, "y": "self_attn.k_proj"})
    parts = handlers.clicked(cell, held)
    assert parts.layer == "model.layers.10.self_attn.k_proj"
    assert isinstance(parts.map, PlotData)
    cell = SimpleNamespace(_data={"chart": "map", "x": 11, "y": "mlp.down_proj"})
    parts = handlers.clicked(cell, held)
    assert "The weights of model.layers.11.mlp.down_proj are not recorded" in parts.map_note
    assert parts.layer is None
    for data in ({}, {"chart": "map", "x": [], "y": {}}, {"chart": "window", "x": 1e400, "y": "a"}):
        handlers.clicked(SimpleNamespace(_data=data), held)


def test_moving_the_slider_is_a_preview_until_as_pruned_is_ticked_again() -> None:
    _, held = opened()
    moved = handlers.previewed({**held, "preview": 80, "preview_pattern": "unstructured"})
    assert moved.as_pruned is False
    assert "Wanda 80%" in moved.label
    back = handlers.shown_as_pruned({**held, "preview": 80, "as_pruned": True})
    assert "Wanda 50%" in back.label
    assert back.preview["value"] == 50
    fixed = handlers.previewed({**held, "preview_pattern": "2:4"})
    assert "Wanda 2:4" in fixed.label
    assert fixed.preview["interactive"] is False


@pytest.fixture
def loading() -> Iterator[None]:
    """A model is being loaded meanwhile, for minutes."""
    with models._loading:
        yield


def test_nothing_waits_for_a_model_that_is_being_loaded(loading: None) -> None:
    done = threading.Event()

    def look() -> None:
        _, held = opened()
        handlers.redrawn({**held, "preview": 60, "as_pruned": False})
        handlers.clicked(SimpleNamespace(_data={"chart": "map", "x": 3, "y": "mlp.up_proj"}), held)
        done.set()

    threading.Thread(target=look, daemon=True).start()
    assert done.wait(60)


def test_what_was_dropped_is_said_and_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded outside a job")

    monkeypatch.setattr(models, "shared_model", never)
    _, held = opened()
    gone = handlers.Shown("no such inspection", "pocket", held["focus"].recipe, "")
    assert "press Inspect layers" in handlers.redrawn({**held, "shown": gone}).label
    assert held["shown"].inspection == RECORDED_NAME
