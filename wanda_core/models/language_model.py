"""A loaded model with its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
)

from wanda_core.errors import Refused
from wanda_core.machine import free_bytes, gigabytes
from wanda_core.models.prunable_layers import PrunableModel


def model_bytes(model: LanguageModel) -> int:
    """Bytes of the model's weights in the dtype it computes in; tied weights count once."""
    if model.prunable.stream is not None:
        return model.parameters * model.dtype.itemsize
    return sum(p.numel() * p.element_size() for p in model.network.parameters())


def streaming_note(model: LanguageModel) -> str:
    """What to say before a streamed model computes; empty where it is in memory."""
    stream = model.prunable.stream
    if stream is None:
        return ""
    return (
        f"{model.source} is read from its files block by block: in float32 its weights take "
        f"{gigabytes(model_bytes(model))}, {gigabytes(free_bytes(model.device))} are free; at most "
        f"{gigabytes(stream.largest)} of them are in memory at a time"
    )


def refuse_streamed(model: LanguageModel, doing: str) -> None:
    """Refuse what takes a model whose weights are in memory.

    Args:
        doing: what that is, such as `writing texts`.
    """
    if model.prunable.stream is not None:
        raise Refused(f"{doing} needs a model in memory, and {model.source} is read block by block")


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A loaded dense model; shared and read-only."""

    source: str
    """As it was asked for."""
    revision: str | None
    """Commit of a Hub model."""
    fingerprint: str
    """Changes when the weights or their dtype do."""
    network: PreTrainedModel
    tokenizer: Any
    prunable: PrunableModel

    @property
    def context(self) -> int | None:
        """Longest window the model was built for, in tokens."""
        return getattr(self.network.config.get_text_config(), "max_position_embeddings", None)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        stream = self.prunable.stream
        return self.network.dtype if stream is None else stream.dtype

    @property
    def device(self) -> torch.device:
        return self.prunable.layers[0].stored.device

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())
