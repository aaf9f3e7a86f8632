"""Matrices for the kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def two_four_mask(rows: int, columns: int, seed: int = 0) -> Tensor:
    """A mask that keeps two of every four, chosen at random: bool (rows, columns)."""
    generator = np.random.default_rng(seed)
    ranks = generator.random((rows * columns // 4, 4)).argsort(axis=1).argsort(axis=1)
    return torch.from_numpy(ranks < 2).view(rows, columns)


def pruned(rows: int, columns: int, seed: int = 0, positive: bool = False) -> tuple[Tensor, Tensor]:
    """A random weight with zeros outside a 2:4 mask, and the mask."""
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    mask = two_four_mask(rows, columns, seed)
    return (weight.abs() if positive else weight) * mask, mask
