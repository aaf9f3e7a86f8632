"""What is drawn is what is pruned: the pictures' own data against masks from the core and from the formulas."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from torch import Tensor

from components.display.chart_style import drawn
from components.inside.card import window_around
from components.inside.figures import (
    histogram_figure,
    inputs_figure,
    plane_figure,
    rows_figure,
    window_figure,
)
from components.inside.handlers import redraw
from components.inside.kept_inspections import RECORDED_KEY, recorded
from components.inside.map_figures import density_figure
from components.learn.arithmetic import COLUMNS, INPUTS, MATRIX, ROWS, numbers, prune_small
from tests import oracle
from tests.conftest import tiny
from wanda_core import Recipe, find_prunable_layers
from wanda_core.errors import Refused
from wanda_core.inspection.agreement import Agreement, scattered, weights_at
from wanda_core.inspection.boundary import boundary
from wanda_core.inspection.histograms import mask_density, plane
from wanda_core.inspection.layer import OpenLayer, choose_mask, outlier_inputs, row_losses, score_layer
from wanda_core.inspection.thresholds import Side
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.pruning.prune_model import prune

NAMES = ["First", "Second"]
SETTINGS = [
    {"sparsity": 0.5},
    {"sparsity": 0.5, "group": "output"},
    {"sparsity": 0.3, "group": "layer"},
    {"sparsity": 0.6, "group": "input"},
    {"pattern": "2:4"},
    {"sparsity": 0.0},
    {"sparsity": 1.0},
]


def random_layer(rows: int = 40, columns: int = 64) -> OpenLayer:
    draw = torch.Generator().manual_seed(0)
    norms = torch.rand(columns, generator=draw) + 0.1
    norms[3] = 30
    return OpenLayer.of("layer", torch.randn(rows, columns, generator=draw), norms)


def decided(layer: OpenLayer, settings: dict[str, Any], methods: tuple = ("magnitude", "wanda")) -> tuple:
    recipes = [Recipe(method=method, **settings) for method in methods]
    scored = [score_layer(layer, recipe.method, 0) for recipe in recipes]
    masks = [choose_mask(layer, *each) for each in zip(scored, recipes, strict=True)]
    return tuple(Side(r, s, m) for r, s, m in zip(recipes, scored, masks, strict=True))


def expected_masks(layer: OpenLayer, sides: tuple) -> list[np.ndarray]:
    """By the formulas, float64, one weight at a time."""
    inputs = np.diag(layer.norms.numpy())  # as tokens they have those norms
    return [
        oracle.mask(
            oracle.score(side.recipe.method, layer.weight.numpy(), inputs),
            side.recipe.sparsity,
            side.recipe.pattern,
            side.recipe.group,
        )
        for side in sides
    ]


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
    sent = drawn(window_figure(part, 0, (9, 20), NAMES), "x")
    trace = json.loads(sent.plot)["data"][0]
    assert np.array_equal(values(trace["z"]), (2 * first + second)[8:40, 16:64])
    assert (trace["x0"], trace["y0"]) == (16, 8)
    shown = values(trace["customdata"])
    weight, norms = layer.weight.numpy(), layer.norms.numpy()
    assert np.allclose(shown[..., 0], weight[8:40, 16:64])
    assert np.allclose(shown[..., 2], np.abs(weight[8:40, 16:64]))
    assert np.allclose(shown[..., 4], np.abs(weight * norms)[8:40, 16:64])


@pytest.mark.parametrize("settings", SETTINGS)
def test_thresholds_part_what_goes_from_what_stays(settings: dict[str, Any]) -> None:
    layer = random_layer()
    sides = decided(layer, settings)
    for window in ((slice(8, 30), slice(18, 61)), (slice(0, 40), slice(0, 64))):
        part = weights_at(layer, sides, *window)
        for place, mask in enumerate(expected_masks(layer, sides)):
            threshold = np.nan_to_num(part.thresholds[place], nan=-1)
            assert np.array_equal(part.scores[place] > threshold, mask[window])
    some = scattered(layer, sides)
    for place, mask in enumerate(expected_masks(layer, sides)):
        threshold = np.nan_to_num(some.thresholds[place], nan=-1)
        assert np.array_equal(some.scores[place] > threshold, mask[some.rows, some.columns])


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
    opened = type("Opened", (), {"layer": layer})
    sizes = layer.weight.abs().numpy()
    for side, mask in zip(sides, expected_masks(layer, sides), strict=True):
        [((left, right), (low, high))] = boundary(side, side.spread(layer), density, opened)
        # Where the line passes at the height of each weight's norm, on log axes.
        share = (np.log(layer.norms.numpy()) - np.log(low)) / (np.log(high) - np.log(low))
        line = np.exp(np.log(left) + share * (np.log(right) - np.log(left)))
        clear = np.abs(sizes / line - 1) > 1e-4  # but for rounding
        assert np.array_equal((sizes > line)[clear], mask[clear])


def test_a_preview_is_the_dense_walk_itself(tokens: Tensor) -> None:
    prunable = find_prunable_layers(tiny("llama"))
    seen = collect_statistics(prunable, tokens).statistics
    norms = {layer.name: statistics.norms() for layer, statistics in seen.items()}
    for method in ("magnitude", "wanda", "ria", "random"):
        pruning = prune(prunable, tokens, Recipe(method=method, sparsity=0.6, schedule="dense"))
        for layer in prunable.layers:
            opened = OpenLayer.of(layer.name, layer.weight, norms[layer.name])
            side, _ = decided(opened, {"sparsity": 0.6}, (method, method))
            assert torch.equal(side.mask, pruning.masks[layer.name].unpack()), (method, layer.name)


def test_a_pruning_keeps_the_norms_that_decided_it(llama: Any, tokens: Tensor) -> None:
    pruning = prune(llama, tokens, Recipe(sparsity=0.5))
    for layer in llama.layers:
        opened = OpenLayer.of(layer.name, layer.weight, pruning.norms[layer.name])
        _, side = decided(opened, {"sparsity": 0.5})
        assert torch.equal(side.mask, pruning.masks[layer.name].unpack())


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
    opened = type("Opened", (), {"layer": layer})
    spreads = [side.spread(layer) for side in sides]
    lines = [boundary(side, spread, density, opened) for side, spread in zip(sides, spreads, strict=True)]
    part, picked = weights_at(layer, sides, *window), weights_at(layer, sides, slice(0, 1), slice(0, 1))
    for figure in (
        histogram_figure(histograms, spreads, NAMES),
        plane_figure(density, lines, scattered(layer, sides), picked, NAMES),
        density_figure([mask_density(s.mask.numpy()) for s in sides], shape, window, NAMES),
        window_figure(part, 0, (0, 0), NAMES),
        inputs_figure(layer.norms.numpy(), outlier_inputs(layer.norms)),
        rows_figure({"row": row_losses(layer, sides[1].mask)}),
    ):
        json.loads(drawn(figure, "x").plot)
    removed, lost = row_losses(layer, sides[1].mask)
    assert np.isfinite(lost).all()
    assert ((lost >= 0) & (lost <= 1)).all()
    assert np.allclose(removed, 1 - sides[1].mask.float().mean(dim=1).numpy())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_said(bad: float) -> None:
    weight = torch.ones(4, 4)
    weight[1, 2] = bad
    with pytest.raises(Refused, match="the weights of x hold NaN or infinite values"):
        OpenLayer.of("x", weight, torch.ones(4))
    with pytest.raises(Refused, match="the input of x holds NaN or infinite values"):
        OpenLayer.of("x", torch.ones(4, 4), weight[1])


def test_a_pattern_that_does_not_fit_is_said() -> None:
    layer = OpenLayer.of("x", torch.ones(4, 6), torch.ones(6))
    with pytest.raises(Refused, match="does not divide the 6 inputs of x"):
        decided(layer, {"pattern": "2:4"})


def test_a_row_loss_is_the_output_error_of_uncorrelated_inputs() -> None:
    layer = random_layer(6, 16)
    _, side = decided(layer, {"sparsity": 0.5})
    _, lost = row_losses(layer, side.mask)
    inputs = torch.diag(layer.norms).double()  # uncorrelated, of these norms
    for row in range(6):
        whole, gone = layer.weight[row].double(), (layer.weight[row] * ~side.mask[row]).double()
        assert lost[row] == pytest.approx(float((inputs @ gone).norm() / (inputs @ whole).norm()), rel=1e-4)


def test_the_lesson_is_the_formulas() -> None:
    weight, inputs = torch.tensor(MATRIX), torch.tensor(INPUTS)
    for recipe in (Recipe(method="magnitude", sparsity=0.5), Recipe(sparsity=0.25), Recipe(pattern="2:4")):
        pruned = prune_small(weight, inputs, recipe)
        scores = oracle.score(recipe.method, weight.numpy(), inputs.numpy())
        assert np.allclose(pruned.scores, scores)
        mask = oracle.mask(pruned.scores.numpy(), recipe.sparsity, recipe.pattern, recipe.group)
        assert np.array_equal(pruned.mask, mask)
        x, w = inputs.double().numpy(), weight.double().numpy()
        moved = np.linalg.norm(x @ (w * ~mask).T) / np.linalg.norm(x @ w.T)
        assert pruned.error == pytest.approx(moved, rel=1e-5)


@pytest.mark.parametrize("cell", ["x", None, "nan", float("inf"), 1e300, True, [1], {"a": 1}, ""])
def test_the_lesson_refuses_what_is_no_number(cell: Any) -> None:
    table = [list(row) for row in MATRIX]
    table[1][2] = cell
    with pytest.raises(Refused, match="row 1, column 2: type a number"):
        numbers("Weights", table, ROWS, COLUMNS)
    for wrong in (None, [], table[:2], [row[:3] for row in table], "x"):
        with pytest.raises(Refused, match="must have"):
            numbers("Weights", wrong, ROWS, COLUMNS)


HOSTILE = [
    (0, "../../etc/passwd"),
    (0, {"a": 1}),
    (1, "no.such.layer"),
    (1, ["x"]),
    (2, "no method"),
    (2, []),
    (3, 7),
    (4, math.nan),
    (4, 10**400),
    (4, -1),
    (4, "50"),
    (5, "9:4"),
    (5, 5),
    (6, "everything"),
    (6, []),
    (7, math.inf),
    (7, True),
    (8, 10**400),
    (8, None),
]


@pytest.mark.parametrize(("place", "value"), HOSTILE)
def test_a_wrong_setting_of_the_card_is_refused_in_a_sentence(place: int, value: Any) -> None:
    layer = next(iter(recorded().norms))
    settings = [RECORDED_KEY, layer, "magnitude", "wanda", 50, "unstructured", "own", 20, 40, False]
    assert "failed" not in redraw(*settings)[0]
    settings[place] = value
    said, *rest = redraw(*settings)
    assert "failed" in said
    assert all(value == gr.skip() for value in rest)
