"""The relative output error against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.models import tiny
from wanda_core import Recipe, find_prunable_layers
from wanda_core.method.output_error import relative_output_error
from wanda_core.pruning.prune_model import prune


def test_output_error_against_its_definition(tokens: Tensor) -> None:
    """With few tokens the sample is every row that came in, so that the error can be derived from outside."""
    network = tiny("llama")
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, tokens[:2], Recipe(schedule="dense", sparsity=0.6))
    layer = prunable.layers[6]
    inputs = []
    hook = layer.module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].reshape(-1, 48)))
    network(input_ids=tokens[:2])
    hook.remove()
    rows = inputs[0].double()
    lost = layer.weight.double() * ~pruning.masks[layer.name].unpack()
    expected = (rows @ lost.t()).norm() / (rows @ layer.weight.double().t()).norm()
    assert pruning.reports[6].error == pytest.approx(float(expected), rel=1e-4)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_output_error_of_scaled_weights(share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, inputs = torch.randn(5, 7, generator=generator), torch.randn(11, 7, generator=generator)
    assert relative_output_error(weight, weight * (1 - share), inputs) == pytest.approx(share, abs=1e-5)
