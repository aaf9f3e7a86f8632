"""Token windows: what calibration and evaluation run the model on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wanda_core.errors import Refused

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_windows(what: str, windows: Tensor, network: PreTrainedModel) -> None:
    """Refuse windows that the model cannot read; a tokenizer may have tokens that its model lacks, and on CUDA such a
    token takes the device from the whole process.

    Args:
        what: `calibration`, `evaluation` and the like, for the message.
    """
    if windows.dim() != 2 or windows.dtype != torch.int64 or 0 in windows.shape:
        raise Refused(f"{what} must be int64 token windows of shape (windows, length)")
    vocabulary = network.get_input_embeddings().weight.shape[0]
    if int(windows.min()) < 0 or int(windows.max()) >= vocabulary:
        raise Refused(f"{what} holds a token outside the model's vocabulary of {vocabulary:,}")
