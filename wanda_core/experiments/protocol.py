"""How a comparison was measured: model, texts, windows, machine."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from torch import Tensor

from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.conditions import conditions, default_micro_batch
from wanda_core.rust_panics import panics_as_errors


def protocol(
    model: LanguageModel, tokens: Tensor, windows: Tensor | None, texts: dict[str, Any]
) -> dict[str, Any]:
    """How the rows were measured: model, texts, windows, machine and versions.

    Args:
        tokens: calibration windows (samples, length).
        windows: evaluation windows (windows, length); None where nothing is evaluated.
        texts: names of the texts and how windows were drawn from them.
    """
    micro_batch = min(len(tokens), default_micro_batch(tokens.shape[1], model.device))
    evaluated = {}
    if windows is not None:
        evaluated = {
            "windows": windows.shape[0],
            "eval_length": windows.shape[1],
            "evaluation_sha256": digest(windows),
            "bytes_per_token": bytes_per_token(model, windows),
        }
    return {
        "source": model.source,
        "revision": model.revision,
        **texts,
        "samples": tokens.shape[0],
        "length": tokens.shape[1],
        "calibration_sha256": digest(tokens),
        **evaluated,
        **conditions(model.prunable, micro_batch),
        "date": datetime.now(UTC).date().isoformat(),
    }


def bytes_per_token(model: LanguageModel, windows: Tensor) -> float | None:
    """UTF-8 bytes of the text that a token stands for, over these windows: what perplexities of models with different
    tokenizers need to be compared. None where the tokenizer cannot write its own tokens."""
    try:
        with panics_as_errors():
            text = model.tokenizer.decode(
                windows.flatten().tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
    except Exception:  # no model is worth less for it
        return None
    return len(text.encode()) / windows.numel()


def digest(tokens: Tensor) -> str:
    """Names token windows: the first 16 digits of their SHA-256."""
    return hashlib.sha256(tokens.cpu().numpy().tobytes()).hexdigest()[:16]
