"""Changed weights: kept exactly, computed with, reported."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support.models import tiny
from wanda_core import Recipe, Refused, find_prunable_layers
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.updated_weights import ChangedValues


def test_a_repeated_factorisation_is_in_the_report(monkeypatch: pytest.MonkeyPatch, tokens: Tensor) -> None:
    plain = InputStatistics.gram

    def broken(self: InputStatistics) -> Tensor:
        gram = plain(self)
        vector = torch.linalg.eigh(gram).eigenvectors[:, :1]
        return gram - (vector @ vector.t()) * 0.05 * gram.diagonal().mean()

    monkeypatch.setattr(InputStatistics, "gram", broken)
    pruning = prune(find_prunable_layers(tiny("llama")), tokens, Recipe(method="sparsegpt"))
    assert any("repeated with 10%" in report.note for report in pruning.reports)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_past_the_cap_are_the_same_from_disk(dtype: torch.dtype) -> None:
    held = ChangedValues(cap=100 * dtype.itemsize)
    tensors = {str(n): torch.randn(60).to(dtype) for n in range(4)}
    for name, values in tensors.items():
        held.put(name, values)
    assert held.memory_bytes == 60 * dtype.itemsize
    assert held.disk_bytes == 180 * dtype.itemsize
    for name, values in tensors.items():
        assert torch.equal(held.get(name), values)


def test_later_values_take_the_place_of_earlier_ones() -> None:
    held = ChangedValues(cap=400)
    for _ in range(3):
        values = {name: torch.randn(60) for name in ("memory", "disk", "another")}
        for name, each in values.items():
            held.put(name, each)
        assert (held.memory_bytes, held.disk_bytes) == (240, 480)
        for name, each in values.items():
            assert torch.equal(held.get(name), each)


@pytest.mark.parametrize("method", ["sparsegpt", "wanda+admm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_changed_weights_are_what_the_model_computes_with(
    method: str, dtype: torch.dtype, tokens: Tensor
) -> None:
    network = tiny("llama").to(dtype)
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, tokens, Recipe(method=method))
    kept = sum(report.weights - report.pruned for report in pruning.reports)
    masks = sum(mask.bits.nbytes for mask in pruning.masks.values())
    norms = 4 * sum(layer.weight.shape[1] for layer in prunable.layers)
    assert pruning.nbytes == masks + norms + kept * dtype.itemsize
    layer = prunable.layers[3]
    weight, mask = pruning.weight(layer), pruning.masks[layer.name].unpack()
    assert weight.dtype == dtype
    assert not torch.equal(weight[mask], layer.weight[mask])
    assert (weight[~mask] == 0).all()
    with pruning.applied(prunable):
        assert torch.equal(layer.module.weight, weight)
    assert torch.equal(layer.module.weight, layer.stored)


def test_layers_that_read_the_same_input_share_its_gram_matrix(
    monkeypatch: pytest.MonkeyPatch, tokens: Tensor
) -> None:
    counted = []
    plain = InputStatistics.add
    monkeypatch.setattr(InputStatistics, "add", lambda self, rows: (counted.append(1), plain(self, rows))[1])
    prune(find_prunable_layers(tiny("llama")), tokens, Recipe(method="sparsegpt"), micro_batch=4)
    # Three blocks, two micro-batches: one input for q, k and v, one for o, one for gate and up, one for down.
    assert len(counted) == 3 * 2 * 4


@pytest.mark.parametrize("group", ["output", "input"])
def test_a_group_that_does_not_apply_is_refused(group: str) -> None:
    with pytest.raises(Refused, match=f"group {group} does not apply to sparsegpt"):
        Recipe(method="sparsegpt", group=group)
    assert Recipe(method="sparsegpt").group == "layer"
