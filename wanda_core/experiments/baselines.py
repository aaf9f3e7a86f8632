"""What else half the bytes would buy: the same model in int8, and a smaller dense model."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from wanda_core.evaluation.perplexity import perplexity
from wanda_core.experiments.point_bytes import point_bytes
from wanda_core.experiments.points import DENSE, blank
from wanda_core.experiments.protocol import digest
from wanda_core.experiments.rows import Row
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import Layer, PrunableModel
from wanda_core.texts.windows import encode, evaluation_windows

LARGEST = 127


OnProgress = Callable[[float, str], None]


def int8_round_trip(weight: Tensor) -> Tensor:
    """The weight as it comes back from 8 bits: symmetric, one scale for each output row, to the nearest step.

    Args:
        weight: (out_features, in_features), any float dtype.

    Returns:
        The same shape and dtype.
    """
    size = weight.float()
    step = (size.abs().amax(dim=1, keepdim=True) / LARGEST).clamp_min_(torch.finfo(torch.float32).tiny)
    return (size / step).round_().mul_(step).to(weight.dtype).contiguous()


def _in_int8(layer: Layer) -> Tensor:
    return int8_round_trip(layer.weight)


@contextmanager
def in_int8(prunable: PrunableModel) -> Iterator[None]:
    """Let the prunable layers compute with int8 weights inside the `with`: half the bytes of 16-bit weights, as 50%
    sparsity would be if zeros cost nothing."""
    with prunable.computing_with((layer, partial(_in_int8, layer)) for layer in prunable.layers):
        yield


def int8_row(
    model: LanguageModel,
    windows: Tensor,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Row:
    """A row of `COLUMNS`, method `int8`.

    Args:
        windows: evaluation windows, int64 (windows, length).
    """
    with in_int8(model.prunable):
        measured = perplexity(model.network, windows, on_progress=on_progress, stop=stop)
    found = {
        "perplexity": measured.value,
        "perplexity_low": measured.low,
        "perplexity_high": measured.high,
        "window_losses": measured.window_losses,
        "evaluation_sha256": digest(windows),
    }
    return blank(DENSE) | {"method": "int8", "bits": 8} | found


def smaller_row(
    model: LanguageModel,
    windows: Tensor,
    smaller: LanguageModel,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Row:
    """A row of `COLUMNS` for another dense model on the same text, method `dense NAME`.

    Another tokenizer cuts the text into other tokens, so that perplexities per token cannot be compared: what the
    smaller model loses on the text is given per token of the first model.

    Args:
        windows: evaluation windows of the first model, int64 (windows, length).
    """
    text = model.tokenizer.decode(windows.flatten(), skip_special_tokens=True)
    ids = encode(text, smaller.tokenizer)
    length = min(windows.shape[1], len(ids), smaller.context or len(ids))
    own = evaluation_windows(ids, None, length)
    measured = perplexity(smaller.network, own, on_progress=on_progress, stop=stop)
    characters = len(smaller.tokenizer.decode(own.flatten(), skip_special_tokens=True))
    tokens = characters * windows.numel() / len(text)  # of the first model, for the text that was evaluated
    share = own.numel() / tokens

    def per_token(value: float | None) -> float | None:
        return None if value is None else math.exp(math.log(value) * share)

    found = {
        "perplexity": per_token(measured.value),
        "perplexity_low": per_token(measured.low),
        "perplexity_high": per_token(measured.high),
    }
    sizes = point_bytes(smaller, None, DENSE.bits, stop).as_row()
    return blank(DENSE) | {"method": f"dense {smaller.source}"} | found | sizes
