"""Wanda Lab's engine: how much can be pruned out of a language model, and what does it cost?

    from wanda_core import Recipe, load, prune

Names are imported when first used: transformers alone takes seconds that `--help` should not cost.
"""

import os
from importlib import import_module
from typing import Any

# Read when torch is first imported. Its threads would else go on spinning after every product, on the cores that the
# kernels for packed weights need: SmolLM2-135M reads prompts through 2:4 weights at 0.83 to 0.94 times the dense
# model's speed without this and at 1.26 to 1.30 times with it, the dense model as fast (two cores of an AMD EPYC).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOME = {
    "Refused": "errors",
    "Stopped": "errors",
    "METHODS": "method.methods",
    "Pattern": "method.pattern",
    "Recipe": "method.recipe",
    "Text": "texts.sources",
    "read_text": "texts.sources",
    "encode": "texts.windows",
    "calibration_windows": "texts.windows",
    "evaluation_windows": "texts.windows",
    "LanguageModel": "models.language_model",
    "load": "models.load",
    "find_prunable_layers": "models.prunable_layers",
    "PrunableModel": "models.prunable_layers",
    "prune": "pruning.prune_model",
    "save_pruned": "export.folder",
    "Pruning": "pruning.result",
    "perplexity": "evaluation.perplexity",
    "Sampling": "generation.sampling",
    "generate_side_by_side": "generation.side_by_side",
    "zero_shot": "evaluation.zero_shot",
    "compare": "experiments.compare",
    "table": "experiments.rows",
    "load_masks": "export.masks_file",
    "load_packed": "export.packed_file",
    "pack": "speed.packed_model",
}

__all__ = sorted(_HOME)

_HOME["take_apart"] = "models.prunable_layers"  # the name that cards of exported models use


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
