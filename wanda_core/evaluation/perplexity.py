"""Perplexity, with its protocol and an interval."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wanda_core.errors import Refused, check_stop
from wanda_core.texts.windows import check_windows

POSITIONS = 512
"""Positions whose log-probabilities are taken in float32 at a time: over a large vocabulary they fill memory."""


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood per predicted token.

    Protocol: the text is cut into windows without overlap; within each window every token but the first is predicted
    from those before it, as in the GPTQ, SparseGPT and Wanda papers.
    """

    value: float
    low: float | None
    """Lower end of a 95% interval over windows' means (normal approximation); None for one window."""
    high: float | None
    windows: int
    length: int


def perplexity(
    network: Any,
    windows: Tensor,
    *,
    on_progress: Callable[[float, str], None] | None = None,
    stop: threading.Event | None = None,
) -> Perplexity:
    """Perplexity of a causal language model as it computes now.

    Args:
        network: a transformers causal language model, in eval mode.
        windows: int64 (windows, length), length 2 or more.

    Raises:
        Stopped: `stop` was set.
        Refused: the windows hold a token that the model lacks, or the device's memory does not hold the logits of one.
    """
    check_windows("evaluation", windows, network)
    device = next(network.parameters()).device
    losses = []
    for index, window in enumerate(windows.to(device).unsqueeze(1)):
        check_stop(stop)
        try:
            losses.append(_window_loss(network, window))
        except torch.OutOfMemoryError as error:
            raise Refused(
                f"out of memory on {device} while evaluating {windows.shape[1]} tokens: lower --eval-length"
            ) from error
        if on_progress:
            on_progress((index + 1) / len(windows), f"window {index + 1} of {len(windows)}")
    losses = torch.tensor(losses, dtype=torch.float64)
    mean = losses.mean().item()
    if len(losses) == 1:
        return Perplexity(_exp(mean), None, None, *windows.shape)
    margin = 1.96 * losses.std().item() / math.sqrt(len(losses))
    return Perplexity(_exp(mean), _exp(mean - margin), _exp(mean + margin), *windows.shape)


@torch.inference_mode()
def _window_loss(network: Any, window: Tensor) -> float:
    """Mean negative log-likelihood, in nats, of one window (1, length)."""
    logits = network(input_ids=window, use_cache=False).logits[0, :-1]  # (length - 1, vocabulary)
    targets = window[0, 1:]
    total = sum(
        functional.cross_entropy(part.float(), target, reduction="sum").double().item()
        for part, target in zip(logits.split(POSITIONS), targets.split(POSITIONS), strict=True)
    )
    return total / len(targets)


def _exp(nats: float) -> float:
    """exp, infinite where it overflows: a broken model's perplexity has no number but is no error."""
    return math.exp(nats) if nats < 700 else math.inf
