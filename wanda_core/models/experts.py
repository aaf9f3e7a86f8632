"""Mixtures of experts whose matrices are two 3-D parameters: their forward, opened where a decision is due.

transformers computes all experts inside one call, so no hook sees what a single expert's matrix is given. `forward`
here computes the same, expert by expert, through a function that is handed each projection's inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

PROJECTIONS = ("gate_up_proj", "down_proj")
"""Parameters (experts, out_features, in_features), in the order in which the forward uses them."""


Project = Callable[[str, dict[int, Tensor]], dict[int, Tensor]]
"""Given a projection's name and the rows (tokens, in_features) that were routed to each expert, their products with
each expert's matrix, (tokens, out_features). Experts without a token are not in it."""


def why_not_experts(module: nn.Module) -> str:
    """Why a module with 3-D parameters cannot be opened here; empty where it can.

    The attributes asked for are those that transformers sets on every module with interchangeable expert kernels.
    """
    names = {name for name, _ in module.named_parameters(recurse=False)}
    if not hasattr(module, "is_transposed") or not hasattr(module, "_apply_gate"):
        return "it holds a 3-D parameter and is not one of transformers' experts modules"
    if module.is_transposed:
        return "its experts are stored transposed"
    if names != set(PROJECTIONS) or module.has_bias or not module.has_gate:
        return f"its experts have other parameters than {' and '.join(PROJECTIONS)}"
    if not module.is_concatenated or module.has_post_expert_norm:
        return "its experts compute more than two products and a gate"
    if module._is_expert_parallel:
        return "its experts are spread over devices"
    return ""


def forward(
    module: nn.Module, hidden: Tensor, top_k_index: Tensor, top_k_weights: Tensor, project: Project
) -> Tensor:
    """What the experts module computes.

    Args:
        hidden: (tokens, hidden).
        top_k_index: experts that each token is routed to, int64 (tokens, k).
        top_k_weights: how much each of them counts, (tokens, k).

    Returns:
        (tokens, hidden), in `hidden`'s dtype.
    """
    experts = len(getattr(module, PROJECTIONS[1]))
    routed = {
        int(expert): torch.where(top_k_index == expert)  # (tokens of this expert), (its place among their k)
        for expert in top_k_index.unique()
        if expert < experts
    }
    gate_up = project(PROJECTIONS[0], {expert: hidden[token] for expert, (token, _) in routed.items()})
    gate = cast(Callable[[Tensor], Tensor], module._apply_gate)
    gated = {expert: gate(output) for expert, output in gate_up.items()}
    del gate_up
    result = torch.zeros_like(hidden)
    for expert, output in project(PROJECTIONS[1], gated).items():
        token, place = routed[expert]
        weighted = output * top_k_weights[token, place, None]
        result.index_add_(0, token, weighted.to(result.dtype))
    return result
