"""A layer in a few numbers, each computed again from masks and outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import oracle
from tests.support.models import tiny
from wanda_core import Recipe, find_prunable_layers
from wanda_core.inspection.layer_summary import summarise
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.pruning.prune_model import prune

RECIPES = [Recipe(method="magnitude", sparsity=0.4), Recipe(method="wanda", sparsity=0.6)]


@pytest.mark.parametrize("family", ["llama", "gpt2"])  # gpt2 stores its weights transposed
def test_numbers_are_those_of_the_masks(family: str, tokens: Tensor) -> None:
    prunable = find_prunable_layers(tiny(family))
    gathered = collect_statistics(prunable, tokens)
    layer = prunable.layers[4]
    statistics = gathered.statistics[layer]
    found = summarise(layer, statistics, RECIPES, [None, None])

    weight, norms = layer.weight.numpy(), statistics.norms().numpy()
    masks = [
        oracle.mask(np.abs(weight), 0.4, "unstructured", "layer"),
        oracle.mask(np.abs(weight) * norms, 0.6, "unstructured", "output"),
    ]
    assert found.sparsity == pytest.approx([1 - mask.mean() for mask in masks])
    assert found.differ == pytest.approx((masks[0] != masks[1]).mean())
    inputs = statistics.sample().double().numpy()
    wanted = inputs @ weight.T.astype(np.float64)
    for error, mask in zip(found.error, masks, strict=True):
        moved = inputs @ (weight * ~mask).T.astype(np.float64)
        assert error == pytest.approx(np.linalg.norm(moved) / np.linalg.norm(wanted), rel=1e-4)
    assert found.outliers == pytest.approx((norms > 5 * norms.mean()).mean())
    assert (found.name, found.block, found.kind) == (layer.name, layer.block, layer.kind)


def test_a_pruning_at_hand_tells_its_own_masks_and_errors(tokens: Tensor) -> None:
    prunable = find_prunable_layers(tiny("llama"))
    gathered = collect_statistics(prunable, tokens)
    pruning = prune(prunable, tokens, RECIPES[1])
    layer = prunable.layers[-1]  # the pruned model's activations are no longer the dense one's here
    found = summarise(layer, gathered.statistics[layer], RECIPES, [None, pruning])
    report = next(report for report in pruning.reports if report.name == layer.name)
    assert found.error[1] == report.error
    own = pruning.masks[layer.name].unpack()
    assert found.sparsity[1] == pytest.approx(1 - float(own.float().mean()))
    dense = summarise(layer, gathered.statistics[layer], RECIPES, [None, None])
    assert not torch.allclose(torch.tensor(found.error), torch.tensor(dense.error), rtol=1e-6)


def test_masks_in_an_order_of_channels_are_compared_weight_by_weight(tokens: Tensor) -> None:
    prunable = find_prunable_layers(tiny("llama"))
    gathered = collect_statistics(prunable, tokens)
    recipes = [Recipe(pattern="2:4"), Recipe(pattern="2:4", order="channels")]
    prunings = [prune(prunable, tokens, recipe) for recipe in recipes]
    moved = 0
    for layer in prunable.layers:
        plain, ordered = (pruning.masks[layer.name].unpack().flatten() for pruning in prunings)
        places = torch.arange(float(plain.numel())).reshape(layer.weight.shape)
        order = prunings[1].order
        assert order is not None
        came_from = order.put(layer.name, places).long().flatten()
        moved += int((came_from != places.long().flatten()).sum())
        wanted = float((ordered != plain[came_from]).float().mean())
        found = summarise(layer, gathered.statistics[layer], recipes, prunings)
        assert found.differ == pytest.approx(wanted), layer.name
    assert moved > 0
