"""Wanda Lab's engine: how much can be pruned out of a language model, and what does it cost?

    from wanda_core import Recipe, load
    from wanda_core.prune import prune

Names are imported when first used: transformers alone takes seconds that `--help` should not cost. A function called
as its module is (`prune`, `export`) is imported from there: here the name would stand for either.
"""

from importlib import import_module

_HOME = {
    "Refused": "errors",
    "Stopped": "errors",
    "METHODS": "methods",
    "Pattern": "recipe",
    "Recipe": "recipe",
    "Text": "calibration",
    "read_text": "calibration",
    "encode": "calibration",
    "calibration_windows": "calibration",
    "evaluation_windows": "calibration",
    "LanguageModel": "models",
    "load": "models",
    "take_apart": "layers",
    "Pruning": "pruning",
    "perplexity": "evaluation",
    "Sampling": "generation",
    "write": "generation",
    "zero_shot": "zeroshot",
    "compare": "experiments",
    "table": "tables",
    "load_masks": "export",
    "load_packed": "packed_file",
    "pack": "packed",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
