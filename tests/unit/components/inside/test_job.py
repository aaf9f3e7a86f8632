"""What the job finds: norms and masks of the layers, as plain arrays."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch

from components.inside import handlers
from components.inside.inspection import AGAIN, OwnMasks
from components.inside.job import Inspected, InspectLayers, other_recipe, previewable
from components.inside.opened_layer import in_order, open_layer
from components.jobs.job import Progress
from components.workspace import models
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core import Recipe, Refused, load

SETUP = Setup("pocket", "stories", "stories", samples=2, length=64, windows=2)


VALUES = {"map_by": "differ"}


def inspect(recipe: Recipe, method: str) -> tuple[Inspected, list[Progress]]:
    events: list[Any] = []
    job = InspectLayers(Focus(SETUP, recipe), other_recipe(recipe, method), "")
    job.compute(events.append, threading.Event())
    return events[-1], events[:-1]


@pytest.fixture(scope="module")
def sparsegpt() -> tuple[Inspected, list[Progress]]:
    return inspect(Recipe(method="sparsegpt", sparsity=0.5), "magnitude")


def test_progress_never_goes_back(sparsegpt: tuple[Inspected, list[Progress]]) -> None:
    shares = [event.share for event in sparsegpt[1]]
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1


def test_sparsegpt_shows_its_own_masks(sparsegpt: tuple[Inspected, list[Progress]]) -> None:
    found = sparsegpt[0]
    recipe = found.focus.recipe
    layer = found.inspection.layers[0].name
    parts = handlers.found(found, VALUES)
    held = {"shown": parts.shown, "focus": found.focus, "map_by": "differ", "compare": "magnitude"}
    parts = handlers.redrawn({**held, "layer": layer, "weight": "1,2"})
    assert "SparseGPT 50%: <b>its own mask</b>" in parts.label
    mask = found.inspection.own[recipe].masks[layer].unpack()
    assert ("pruned", "kept")[int(mask[1, 2])] in parts.arithmetic
    moved = handlers.previewed(
        {**held, "layer": layer, "weight": "1,2", "preview": 60, "preview_pattern": "unstructured"}
    )
    assert "cannot be previewed" in moved.label


def test_what_it_finds_is_sent_as_plain_arrays(sparsegpt: tuple[Inspected, list[Progress]]) -> None:
    sent = pickle.dumps(sparsegpt[0])
    assert b"rebuild_tensor" not in sent
    back = pickle.loads(sent)
    assert back.inspection.norms.keys() == sparsegpt[0].inspection.norms.keys()


def test_norms_and_shares_are_those_of_the_dense_model() -> None:
    found = inspect(Recipe(method="wanda", sparsity=0.5), "magnitude")[0].inspection
    model = load("pocket")
    for layer, summary in zip(model.prunable.layers, found.layers, strict=True):
        weight, norms = layer.weight.numpy(), found.norms[layer.name]
        assert norms.dtype == np.float32
        drop = weight.shape[1] // 2
        wanda = np.ones_like(weight, dtype=bool)
        lowest = np.argsort(np.abs(weight) * norms, axis=1, kind="stable")[:, :drop]
        np.put_along_axis(wanda, lowest, False, axis=1)
        magnitude = np.ones(weight.size, dtype=bool)
        magnitude[np.argsort(np.abs(weight).ravel(), kind="stable")[: weight.size // 2]] = False
        assert summary.name == layer.name
        assert summary.differ == pytest.approx((wanda.ravel() != magnitude).mean())


def test_a_model_that_was_dropped_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = inspect(Recipe(method="wanda", sparsity=0.5), "magnitude")[0]
    parts = handlers.found(found, VALUES)
    monkeypatch.setattr("components.inside.inspection.loaded", lambda *_: None)
    held = {
        "shown": parts.shown,
        "focus": found.focus,
        "map_by": "differ",
        "layer": found.inspection.layers[1].name,
    }
    said = handlers.redrawn(held)
    assert AGAIN.replace("the model", "The model") in said.label
    assert models.loaded("pocket") is not None


def test_a_page_loaded_anew_keeps_its_links_settings() -> None:
    found = inspect(Recipe(method="wanda", sparsity=0.5), "magnitude")[0]
    told = handlers.found(found, {})
    assert [part for part in told.listed() if part is not None] == [found.inspection.name]
    panel = {"source": "pocket", "revision": None, "dtype": "auto", "focus": found.focus}
    assert (
        handlers.arrived({**panel, "shown": None}, ["pocket"]) == handlers.Parts()
    )  # its tab was never opened
    layer = found.inspection.layers[3].name
    empty = handlers.Shown(None, "pocket", found.focus.recipe, found.focus.setup.digest)
    link = {"layer": layer, "weight": "3,17", "as_pruned": False, "preview": 70}
    parts = handlers.arrived({**panel, "shown": empty, **link}, ["pocket"])
    assert parts.layer["value"] == layer
    assert parts.weight == "3,17"
    assert parts.as_pruned is False
    assert "Wanda 70%" in parts.label


def test_an_order_shows_the_ordered_model_with_its_own_masks() -> None:
    """Of every four consecutive inputs two are kept, each weight is where the masks have it, and what is shown of
    agreement counts weights."""
    recipe = Recipe(pattern="2:4", order="channels")
    found, _ = inspect(recipe, "magnitude")
    inspection = pickle.loads(pickle.dumps(found.inspection))
    opened = open_layer(inspection, (name := inspection.layers[3].name), inspection.recipes)
    assert opened.own == (True, True)
    model = models.loaded("pocket")
    dense = next(layer for layer in model.prunable.layers if layer.name == name)
    order = inspection.own[recipe].order
    assert torch.equal(opened.layer.weight, order.put(name, dense.weight).cpu())
    assert not torch.equal(opened.layer.weight, dense.weight.cpu())
    for side in opened.sides:
        assert (side.mask.reshape(-1, 4).sum(dim=1) == 2).all()
    scores = opened.sides[0].scored.scores.reshape(
        -1, 4
    )  # wanda's, of the ordered norms: its mask follows from them
    highest = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(2).indices, True)
    assert (highest != opened.sides[0].mask.reshape(-1, 4)).float().mean() < 0.001
    differ = (opened.sides[0].mask ^ opened.sides[1].mask).float().mean()
    assert inspection.layers[3].differ == pytest.approx(float(differ), abs=1e-6)


def test_an_order_has_no_preview_and_two_orders_no_common_picture() -> None:
    recipe = Recipe(pattern="2:4", order="channels")
    assert not previewable(recipe)
    plain, ordered = (OwnMasks({}, {}, order) for order in (None, object()))
    with pytest.raises(Refused, match="in different orders"):
        in_order(torch.zeros(4, 4), "x", [plain, ordered])
    assert in_order("weight", "x", [plain, None]) == "weight"
