"""Layers that cannot be pruned, and what is said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers.pytorch_utils import Conv1D

from wanda_core.errors import Refused

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def refuse_unsound(name: str, module: nn.Module) -> None:
    """Refuse a linear layer whose weight is not simply its matrix, here, in floating point."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        raise Refused(f"{name} is parametrised: remove the parametrisation first")
    if kind not in (nn.Linear, Conv1D) and not kind.__module__.startswith("transformers.models."):
        raise Refused(
            f"{name} is a {kind.__name__}: quantised or adapted layers cannot be pruned, load plain weights"
        )
    refuse_values(name, module.get_parameter("weight"))


def refuse_values(name: str, weight: Tensor) -> None:
    """Refuse values that are not plain floating point, or not here."""
    if type(weight.data) is not Tensor:
        kind = type(weight.data).__name__
        raise Refused(
            f"{name} holds {kind} weights: quantised or wrapped weights cannot be pruned, load plain ones"
        )
    if weight.is_meta:
        raise Refused(
            f"the weights of {name} are not on the device (offloaded): use a larger device, or cpu for {{device}}"
        )
    if weight.dtype not in FLOATS:
        raise Refused(f"{name} holds {weight.dtype} weights: float32, bfloat16 or float16 needed")


def refuse_shared(network: nn.Module, layers: Iterable[tuple[str, nn.Parameter]]) -> None:
    """Pruning a weight that two modules use would change the other one unseen."""
    owners = Counter(
        p.data_ptr() for module in network.modules() for p in module._parameters.values() if p is not None
    )
    for name, parameter in layers:
        if owners[parameter.data_ptr()] > 1:
            raise Refused(f"the weight of {name} is shared with another module: it cannot be pruned alone")
