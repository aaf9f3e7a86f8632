"""What every measurement starts from: a model, its calibration and evaluation windows, and the protocol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """A model, two texts, and the windows to take of them."""

    source: str
    """Hub id, folder, .gguf file or `pocket`."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
    dtype: str = "auto"
    """`auto` (as the model is stored), `float32`, `bfloat16` or `float16`."""
    calibration: str
    """Text whose activations decide what is pruned: a file, or a dataset of the Hub."""
    chat: bool = False
    """Write the calibration text as chats by the model's template."""
    samples: int = 128
    """Calibration windows."""
    length: int = 2048
    """Tokens of a calibration window."""
    seed: int = 0
    """Seed of the places of the calibration windows, and of what is random in a method."""
    evaluation: str | None = None
    """Text whose perplexity is measured: a file, or a dataset of the Hub."""
    windows: int | None = None
    """Evaluation windows, from the text's start; by default all that fit."""
    eval_length: int = 2048
    """Tokens of an evaluation window."""
