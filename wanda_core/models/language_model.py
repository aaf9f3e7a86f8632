"""A loaded model with its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
)

from wanda_core.models.prunable_layers import PrunableModel


def model_bytes(model: LanguageModel) -> int:
    """Bytes of the model's weights in the dtype they are loaded in; tied weights count once."""
    return sum(p.numel() * p.element_size() for p in model.network.parameters())


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
    def device(self) -> torch.device:
        return self.prunable.layers[0].stored.device

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())
