"""Thresholds, previews and losses of one layer, against the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.inspection import SETTINGS, decided, expected_masks, random_layer
from tests.support.models import tiny
from wanda_core import Recipe, find_prunable_layers
from wanda_core.errors import Refused
from wanda_core.inspection.agreement import scattered, weights_at
from wanda_core.inspection.layer import OpenLayer, row_losses
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.pruning.prune_model import prune


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
