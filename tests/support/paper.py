"""The methods of the papers written the slow and obvious way: physically pruned copies, plain forwards, a full sort."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


def matrix(module: nn.Module) -> Tensor:
    """The weight of a linear layer, (out_features, in_features); writing to it writes to the layer."""
    return module.weight.data.t() if isinstance(module, Conv1D) else module.weight.data


def blocks_of(network: PreTrainedModel) -> nn.ModuleList:
    return max(
        (m for m in network.modules() if isinstance(m, nn.ModuleList)),
        key=lambda blocks: sum(p.numel() for p in blocks.parameters()),
    )


def linear_layers(network: PreTrainedModel) -> list[dict[str, nn.Module]]:
    """For every block its linear layers by their full names."""
    names = {module: name for name, module in network.named_modules()}
    return [
        {names[m]: m for m in block.modules() if isinstance(m, nn.Linear | Conv1D)}
        for block in blocks_of(network)
    ]


def input_norms(network: PreTrainedModel, layers: dict[str, nn.Module], tokens: Tensor) -> dict[str, Tensor]:
    """L2 norms, in float64, of the inputs of `layers` in a forward over all tokens, in the order of the calls."""
    norms = {}

    def keep(name: str, inputs: Tensor) -> None:
        norms[name] = inputs.double().reshape(-1, inputs.shape[-1]).square().sum(dim=0).sqrt()

    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: keep(name, args[0]))
        for name, layer in layers.items()
    ]
    with torch.no_grad():
        network(input_ids=tokens)
    for hook in hooks:
        hook.remove()
    return norms


def keep_row_by_row(scores: Tensor, sparsity: float) -> Tensor:
    """Wanda's mask: in every row the first `floor(columns * sparsity)` of a stable ascending sort go."""
    order = scores.sort(dim=1, stable=True).indices
    mask = torch.ones_like(scores, dtype=torch.bool)
    return mask.scatter_(1, order[:, : math.floor(scores.shape[1] * sparsity)], False)


def wanda_masks(
    network: PreTrainedModel, tokens: Tensor, sparsity: float, schedule: str
) -> dict[str, Tensor]:
    """Wanda's masks from a model pruned step by step; a step is a layer, a block (the paper), or everything."""
    network = copy.deepcopy(network)
    blocks = linear_layers(network)
    everything = {name: layer for block in blocks for name, layer in block.items()}
    order = list(input_norms(network, everything, tokens))
    steps: Iterable[dict[str, nn.Module]] = {
        "layer": [{name: everything[name]} for name in order],
        "block": blocks,
        "dense": [everything],
    }[schedule]
    masks = {}
    for step in steps:
        for name, norms in input_norms(network, step, tokens).items():
            weight = matrix(step[name])
            masks[name] = keep_row_by_row(weight.abs() * norms.float(), sparsity)
            weight.mul_(masks[name])
    return masks
