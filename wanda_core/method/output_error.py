"""How far a layer's output moved."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_output_error(dense: Tensor, pruned: Tensor, inputs: Tensor) -> float:
    """`||X (W - W')^T|| / ||X W^T||` in the Frobenius norm; 0 where the dense output is all zero.

    Args:
        dense, pruned: W and W', (out_features, in_features).
        inputs: X, (rows, in_features).
    """
    expected = (inputs @ dense.t()).float()
    size = expected.norm()
    error = (expected - (inputs @ pruned.t()).float()).norm() / size
    return torch.where(size > 0, error, 0.0).item()  # a number is asked of the device once
