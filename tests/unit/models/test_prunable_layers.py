"""What can be pruned in a model, and what is refused, by name and with the reason."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers import PreTrainedModel

from tests.support.models import tiny
from wanda_core import Refused, find_prunable_layers
from wanda_core.models.prunable_layers import PrunableModel

UP = "model.layers.1.mlp.up_proj"


def test_every_family_is_seen_as_matrices(network: PreTrainedModel, tokens: Tensor) -> None:
    prunable = find_prunable_layers(network)
    assert len(prunable.blocks) == 3
    seen = {}
    hooks = [
        layer.module.register_forward_hook(
            lambda _, args, out, name=layer.name: seen.update({name: (args[0], out)})
        )
        for layer in prunable.layers
    ]
    prunable.decoder(input_ids=tokens)
    for hook in hooks:
        hook.remove()
    for layer in prunable.layers:
        inputs, outputs = seen[layer.name]
        bias = 0 if layer.module.bias is None else layer.module.bias
        torch.testing.assert_close(inputs @ layer.weight.t() + bias, outputs, atol=1e-5, rtol=1e-4)
        assert layer.name.endswith(layer.kind)
        assert network.get_submodule(layer.name) is layer.module


def test_embeddings_and_head_are_not_listed(prunable: PrunableModel) -> None:
    assert not [layer.name for layer in prunable.layers if "head" in layer.name or "embed" in layer.name]


def test_point_at_and_restore(prunable: PrunableModel) -> None:
    for layer in prunable.layers:
        dense = layer.stored.clone()
        layer.point_at(torch.zeros_like(layer.weight))
        assert layer.module.weight.count_nonzero() == 0
        assert layer.module.weight.shape == dense.shape
        layer.restore()
        assert torch.equal(layer.module.weight, dense)


class FourBits(nn.Linear):
    """A quantised layer of some library."""


class Packed(Tensor):
    """A quantised tensor of some library, in a plain `nn.Linear`."""


def _replace(network: PreTrainedModel, module: nn.Module) -> None:
    network.model.layers[1].mlp.up_proj = module


def _adapt(network: PreTrainedModel) -> None:
    adapter = nn.Module()
    adapter.base_layer = network.get_submodule(UP)
    _replace(network, adapter)


def _subclass_weight(network: PreTrainedModel) -> None:
    layer = network.get_submodule(UP)
    layer.weight = nn.Parameter(layer.weight.data.as_subclass(Packed), requires_grad=False)


def _share(network: PreTrainedModel) -> None:
    network.get_submodule(UP).weight = network.model.layers[0].mlp.up_proj.weight


def _share_memory(network: PreTrainedModel) -> None:
    network.get_submodule(UP).weight.data = network.model.layers[0].mlp.up_proj.weight.data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda n: n.get_submodule(UP).to("meta"), f"{UP} are not on the device"),
        (lambda n: _replace(n, FourBits(32, 48)), f"{UP} is a FourBits: quantised or adapted"),
        (_subclass_weight, f"{UP} .*Packed.*quantised"),
        (lambda n: n.get_submodule(UP).to(torch.float64), f"{UP} holds torch.float64 weights"),
        (_adapt, f"{UP} is adapted"),
        (_share, r"model.layers.\d.mlp.up_proj is shared"),
        (_share_memory, r"model.layers.\d.mlp.up_proj is shared"),
        (lambda n: parametrizations.weight_norm(n.get_submodule(UP)), f"{UP} is parametrised"),
        (lambda n: n.get_submodule(UP).compile(), f"{UP} is compiled"),
        (lambda n: n.model.layers[1].compile(), "model.layers.1 is compiled"),
        (lambda n: setattr(n.config, "quantization_config", {"bits": 4}), "is quantised"),
    ],
    ids=[
        "meta", "linear subclass", "tensor subclass", "float64", "LoRA", "shared parameter", "shared memory",
        "parametrised", "compiled layer", "compiled block", "quantised config",
    ],
)  # fmt: skip
def test_refused_by_name(change, reason: str) -> None:
    network = tiny("llama")
    change(network)
    with pytest.raises(Refused, match=reason):
        find_prunable_layers(network)


def test_compiled_model_is_refused() -> None:
    with pytest.raises(Refused, match="is compiled"):
        find_prunable_layers(torch.compile(tiny("llama")))


def test_routers_are_not_listed() -> None:
    network = tiny("llama")
    network.model.layers[0].mlp.gate = nn.Linear(32, 4)
    assert len(find_prunable_layers(network).layers) == len(find_prunable_layers(tiny("llama")).layers)


def test_a_model_without_blocks_is_refused() -> None:
    network = copy.deepcopy(tiny("llama"))
    network.model.layers = nn.ModuleList()
    with pytest.raises(Refused, match="no list of decoder blocks"):
        find_prunable_layers(network)
