"""The result of a pruning: counts, kept values, packed masks, applied and taken off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.support.models import assert_untouched, snapshot, tiny
from wanda_core import Recipe, Refused, find_prunable_layers
from wanda_core.pruning.prune_model import prune

SPARSITIES = (0.0, 0.01, 0.3, 0.5, 0.77, 1.0)


@pytest.mark.parametrize("method", ["wanda", "magnitude", "random"])
@pytest.mark.parametrize("group", ["output", "layer", "input"])
def test_exactly_floor_of_every_group_goes(
    network: PreTrainedModel, tokens: Tensor, method: str, group: str
) -> None:
    prunable = find_prunable_layers(network)
    for sparsity in SPARSITIES:
        pruning = prune(prunable, tokens, Recipe(method=method, sparsity=sparsity, group=group))
        for layer in prunable.layers:
            gone = ~pruning.masks[layer.name].unpack()
            groups = {"output": gone, "input": gone.t(), "layer": gone.reshape(1, -1)}[group]
            assert set(groups.sum(dim=1).tolist()) == {math.floor(groups.shape[1] * sparsity)}
        reported = {r.name: r.pruned for r in pruning.reports}
        assert reported == {n: int((~m.unpack()).sum()) for n, m in pruning.masks.items()}


@pytest.mark.parametrize("method", ["wanda", "magnitude", "random"])
@pytest.mark.parametrize(("pattern", "keep", "among"), [("2:4", 2, 4), ("4:8", 4, 8), ("1:16", 1, 16)])
def test_n_of_m_stay_in_every_row(
    network: PreTrainedModel, tokens: Tensor, method: str, pattern: str, keep: int, among: int
) -> None:
    pruning = prune(find_prunable_layers(network), tokens, Recipe(method=method, pattern=pattern))
    for mask in pruning.masks.values():
        assert set(mask.unpack().view(-1, among).sum(dim=1).tolist()) == {keep}


def test_a_pattern_that_does_not_divide_names_the_layer(tokens: Tensor) -> None:
    with pytest.raises(
        Refused, match=r"2:5 does not divide the 32 inputs of model.layers.0.self_attn.q_proj"
    ):
        prune(find_prunable_layers(tiny("llama")), tokens, Recipe(pattern="2:5"))
    with pytest.raises(Refused, match=r"1:32 does not divide the 48 inputs of model.layers.0.mlp.down_proj"):
        prune(find_prunable_layers(tiny("llama")), tokens, Recipe(pattern="1:32"))


@pytest.mark.parametrize("method", ["wanda", "magnitude", "random"])
def test_applied_weights_are_the_dense_ones_or_zero(
    network: PreTrainedModel, tokens: Tensor, method: str
) -> None:
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, tokens, Recipe(method=method))
    dense = network(input_ids=tokens).logits
    with pruning.applied(prunable):
        for layer in prunable.layers:
            now = layer.module.weight.t() if layer.transposed else layer.module.weight
            mask = pruning.masks[layer.name].unpack()
            was = before[f"{layer.name}.weight"]
            was = was.t() if layer.transposed else was
            assert torch.equal(now[mask], was[mask])
            assert now[~mask].count_nonzero() == 0
        assert not torch.equal(network(input_ids=tokens).logits, dense)
    assert_untouched(network, before)
    assert torch.equal(network(input_ids=tokens).logits, dense)


def test_applied_is_taken_off_after_an_error(network: PreTrainedModel, tokens: Tensor) -> None:
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, tokens, Recipe())
    with pytest.raises(ZeroDivisionError), pruning.applied(prunable):
        raise ZeroDivisionError
    assert_untouched(network, before)


def test_the_same_recipe_gives_the_same_masks(network: PreTrainedModel, tokens: Tensor) -> None:
    for method in ("wanda", "random"):
        first, second = (
            prune(find_prunable_layers(network), tokens, Recipe(method=method)) for _ in range(2)
        )
        assert all(np.array_equal(first.masks[n].bits, second.masks[n].bits) for n in first.masks)
    other = prune(find_prunable_layers(network), tokens, Recipe(method="random", seed=1))
    assert all(not np.array_equal(first.masks[n].bits, other.masks[n].bits) for n in first.masks)


@pytest.mark.parametrize(
    "windows",
    [
        torch.zeros(2, 8, dtype=torch.int32),
        torch.zeros(8, dtype=torch.int64),
        torch.zeros(0, 8, dtype=torch.int64),
        torch.full((2, 8), 257),
        torch.full((2, 8), -1),
    ],
)
def test_tokens_that_are_none_are_refused(windows: Tensor) -> None:
    with pytest.raises(Refused, match=r"token windows|outside the model's vocabulary"):
        prune(find_prunable_layers(tiny("llama")), windows, Recipe())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_formats_prune_by_the_inputs_they_compute_with(dtype: torch.dtype, tokens: Tensor) -> None:
    """The layers' inputs as a plain forward gives them, scored in float64: only near-ties fall otherwise."""
    network = tiny("llama").to(dtype)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, tokens, Recipe(schedule="dense"), micro_batch=len(tokens))
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    with pruning.applied(prunable):
        assert {layer.parameter.dtype for layer in prunable.layers} == {dtype}

    inputs: dict[str, Tensor] = {}
    for layer in prunable.layers:
        layer.module.register_forward_pre_hook(
            lambda _, args, n=layer.name: inputs.update({n: args[0].double()})
        )
    network.model(input_ids=tokens)
    for layer in prunable.layers:
        scores = layer.stored.double().abs() * inputs[layer.name].flatten(0, 1).norm(dim=0)
        size = scores.shape[1]
        threshold = scores.sort(dim=1).values[:, size // 2 - 1 : size // 2 + 1].mean(dim=1, keepdim=True)
        mask = pruning.masks[layer.name].unpack()
        assert (mask.sum(dim=1) == size - size // 2).all()
        near = (scores - threshold).abs() < 1e-5 * threshold
        assert ((mask == (scores > threshold)) | near).all(), layer.name
