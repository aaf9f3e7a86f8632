"""The layer card's figures show the masks that the formulas give."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch

from components.display.chart_style import drawn
from components.inside.card import window_around
from components.inside.figures import (
    histogram_figure,
    inputs_figure,
    plane_figure,
    rows_figure,
    window_figure,
)
from components.inside.map_figures import density_figure, map_figure
from tests.support.inspection import SETTINGS, decided, expected_masks, random_layer
from wanda_core import Recipe
from wanda_core.inspection.agreement import Agreement, scattered, weights_at
from wanda_core.inspection.boundary import boundary
from wanda_core.inspection.histograms import mask_density, plane
from wanda_core.inspection.layer import OpenLayer, outlier_inputs, row_losses
from wanda_core.inspection.layer_summary import LayerSummary

RECIPES = (Recipe(method="magnitude"), Recipe(method="wanda"))


def values(content: Any) -> np.ndarray:
    """An array as plotly writes it."""
    if not isinstance(content, dict):
        return np.array(content)
    shape = tuple(map(int, content["shape"].split(","))) if "shape" in content else -1
    return np.frombuffer(base64.b64decode(content["bdata"]), np.dtype(content["dtype"])).reshape(shape)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_window_draws_the_masks_of_the_formulas(settings: dict[str, Any]) -> None:
    layer = random_layer()
    sides = decided(layer, settings)
    first, second = expected_masks(layer, sides)
    part = weights_at(layer, sides, slice(8, 40), slice(16, 64))
    sent = drawn(window_figure(part, 0, (9, 20), RECIPES), "x")
    trace = json.loads(sent.plot)["data"][0]
    assert np.array_equal(values(trace["z"]), (2 * first + second)[8:40, 16:64])
    assert (trace["x0"], trace["y0"]) == (16, 8)
    shown = values(trace["customdata"])
    weight, norms = layer.weight.numpy(), layer.norms.numpy()
    assert np.allclose(shown[..., 0], weight[8:40, 16:64])
    assert np.allclose(shown[..., 2], np.abs(weight[8:40, 16:64]))
    assert np.allclose(shown[..., 4], np.abs(weight * norms)[8:40, 16:64])


@pytest.mark.parametrize("settings", SETTINGS)
def test_histograms_densities_and_shares_count_the_masks(settings: dict[str, Any]) -> None:
    layer = random_layer()
    sides = decided(layer, settings)
    masks = expected_masks(layer, sides)
    for side, mask in zip(sides, masks, strict=True):
        histogram = side.scored.histogram(side.mask.numpy())
        assert histogram.kept.sum() == mask.sum()
        assert histogram.pruned.sum() == (~mask).sum()
        assert np.array_equal(mask_density(side.mask.numpy()), 100 * mask)
    agreement = Agreement.of(sides[0].mask, sides[1].mask)
    assert agreement.differ == pytest.approx((masks[0] != masks[1]).mean())
    assert agreement.both_keep == pytest.approx((masks[0] & masks[1]).mean())


def test_the_plane_counts_every_weight_and_the_boundaries_part_them() -> None:
    layer = random_layer()
    sides = decided(layer, {"sparsity": 0.5, "group": "layer"})
    density = plane(layer.weight.numpy(), layer.norms.numpy())
    assert density.counts.sum() == layer.weight.numel()
    sizes = layer.weight.abs().numpy()
    for side, mask in zip(sides, expected_masks(layer, sides), strict=True):
        [((left, right), (low, high))] = boundary(side, side.spread(layer), layer)
        # Where the line passes at the height of each weight's norm, on log axes.
        share = (np.log(layer.norms.numpy()) - np.log(low)) / (np.log(high) - np.log(low))
        line = np.exp(np.log(left) + share * (np.log(right) - np.log(left)))
        clear = np.abs(sizes / line - 1) > 1e-4  # but for rounding
        assert np.array_equal((sizes > line)[clear], mask[clear])


ODD = {
    "constant": (torch.full((8, 16), 0.5), torch.ones(16)),
    "zero": (torch.zeros(8, 16), torch.ones(16)),
    "no input": (torch.randn(8, 16), torch.zeros(16)),
    "one column": (torch.randn(8, 1), torch.ones(1)),
    "one weight": (torch.ones(1, 1), torch.ones(1)),
    "very large": (torch.randn(8, 16) * 1e30, torch.full((16,), 1e30)),
    "very small": (torch.randn(8, 16) * 1e-38, torch.full((16,), 1e-30)),
    "one loud input": (torch.randn(8, 16), torch.tensor([1e20] + [1e-3] * 15)),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_layers_draw_something_sensible(kind: str) -> None:
    layer = OpenLayer.of(kind, *ODD[kind])
    shape = tuple(layer.weight.shape)
    sides = decided(layer, {"sparsity": 0.5})
    histograms = [side.scored.histogram(side.mask.numpy()) for side in sides]
    for histogram, side in zip(histograms, sides, strict=True):
        assert np.isfinite(histogram.edges).all()
        assert histogram.kept.sum() + histogram.pruned.sum() + histogram.zeros == layer.weight.numel()
        assert histogram.kept.sum() + histogram.zeros_kept == int(side.mask.sum())
    density = plane(layer.weight.numpy(), layer.norms.numpy())
    window = window_around(shape, 0, 0)
    spreads = [side.spread(layer) for side in sides]
    lines = [boundary(side, spread, layer) for side, spread in zip(sides, spreads, strict=True)]
    part, picked = weights_at(layer, sides, *window), weights_at(layer, sides, slice(0, 1), slice(0, 1))
    for figure in (
        histogram_figure(list(zip(histograms, spreads, RECIPES, strict=True))),
        plane_figure(density, lines, scattered(layer, sides), picked, RECIPES),
        density_figure([mask_density(s.mask.numpy()) for s in sides], shape, window, ("First", "Second")),
        window_figure(part, 0, (0, 0), RECIPES),
        inputs_figure(layer.norms.numpy(), outlier_inputs(layer.norms)),
        rows_figure({"row": row_losses(layer, sides[1].mask)}, "wanda"),
    ):
        json.loads(drawn(figure, "x").plot)
    removed, lost = row_losses(layer, sides[1].mask)
    assert np.isfinite(lost).all()
    assert ((lost >= 0) & (lost <= 1)).all()
    assert np.allclose(removed, 1 - sides[1].mask.float().mean(dim=1).numpy())


SUMMARIES = [
    LayerSummary(
        f"{block}.{kind}", block, f"mlp.{kind}", (0.5, 0.4996 + 0.0001 * block), (0.1, 0.2), 0.3, 0.0
    )
    for block in range(3)
    for kind in ("up", "down")
]


def test_the_map_outlines_what_can_be_opened_and_marks_what_is() -> None:
    figure = map_figure(SUMMARIES, "differ", RECIPES, frozenset(["1.down"]), "2.up")
    outlined, marked = figure.layout.shapes
    assert (outlined.x0, outlined.y0) == (0.5, 0.5)
    assert (marked.x0, marked.y0) == (1.5, -0.5)
    hints = figure.data[0].text
    assert hints[1][1] == "click to open"
    assert hints[0][1].startswith("press Inspect layers")
    everything = frozenset(layer.name for layer in SUMMARIES)
    assert len(map_figure(SUMMARIES, "differ", RECIPES, everything, "2.up").layout.shapes) == 1


def test_sparsities_that_differ_by_rounding_alone_get_one_colour() -> None:
    figure = map_figure(SUMMARIES, "sparsity", RECIPES, frozenset(), "")
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 100)
    spread = [*SUMMARIES, LayerSummary("3.up", 3, "mlp.up", (0.3, 0.3), (0.1, 0.2), 0.3, 0.0)]
    assert map_figure(spread, "sparsity", RECIPES, frozenset(), "").layout.coloraxis.cmin is None
