"""Losses of every window, computed apart from the project."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel


def losses_by_hand(network: PreTrainedModel, windows: Tensor) -> list[float]:
    """Mean negative log-likelihood of every window: softmax in float64, one token after the other."""
    losses = []
    for window in windows:
        logits = network(input_ids=window[None]).logits[0].double()
        terms = [
            math.log(math.fsum(torch.exp(logits[i] - logits[i].max()).tolist()))
            - float(logits[i, window[i + 1]] - logits[i].max())
            for i in range(len(window) - 1)
        ]
        losses.append(math.fsum(terms) / len(terms))
    return losses
