"""The weights as plain transformers reads them, zeros and all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from wanda_core.export import streamed_weights
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning

SHARD = "5GB"


def write(model: LanguageModel, pruning: Pruning, folder: Path, stop: threading.Event | None) -> None:
    """Write the configuration and the pruned weights.

    Raises:
        Refused: a streamed model's files were changed meanwhile.
        Stopped: `stop` was set.
    """
    stream = model.prunable.stream
    if stream is not None:
        with model.prunable.alone(stop):
            streamed_weights.write(model, pruning, stream, folder, SHARD, stop)
        return
    with pruning.applied(model.prunable, stop):
        model.network.save_pretrained(folder, max_shard_size=SHARD)


def read(folder: Path, dtype: torch.dtype, stop: threading.Event | None) -> Any:
    """The model, as a user of the folder loads it. On a CPU transformers maps the file: its bytes are read when they
    are compared."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
