"""Correlated inputs and what an update leaves as error."""

from __future__ import annotations

import torch
from torch import Tensor

from wanda_core.method.input_statistics import InputStatistics


def layer(rows: int, columns: int, seed: int = 0, tokens: int = 400) -> tuple[Tensor, Tensor]:
    """A weight (out, in) and inputs (tokens, in) that are correlated and of different size."""
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(tokens, columns, generator=draw) @ torch.randn(columns, columns, generator=draw)
    return torch.randn(rows, columns, generator=draw), inputs * torch.rand(columns, generator=draw)


def gram_of(inputs: Tensor) -> Tensor:
    statistics = InputStatistics(inputs.shape[1], inputs.device, len(inputs), gram=True)
    for part in inputs.split(150):
        statistics.add(part)
    return statistics.gram()


def error(weight: Tensor, new: Tensor, inputs: Tensor) -> float:
    return float(((weight - new).double() @ inputs.double().t()).norm())
