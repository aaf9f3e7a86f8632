"""A model's configuration, judged before any weight is read: of the right kind, and not larger than its weights."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from wanda_core.errors import Refused
from wanda_core.models.refusals import load_refusal
from wanda_core.models.target import Target
from wanda_core.rust_panics import panics_as_errors

ALWAYS_CAUSAL = ("gpt_neox", "gpt_neox_japanese")
"""Decoders whose configurations have `is_decoder` false all the same, Pythia's among them."""

MOST_LAYERS = 512
"""Decoder blocks; the deepest published models have fewer than 200. Each takes memory even without its weights."""


def causal_config(source: str, folder: Path) -> Any:
    """The configuration, refused unless it is that of a causal language model whose code transformers has."""
    _refuse_foreign_kernels(source, folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise load_refusal(source, "the configuration of ", error) from error
    causal = {name for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() for name in _as_tuple(names)}
    named = causal & set(config.architectures or causal)
    # BERT and its like have a class for causal models, too, which is one only as a decoder.
    encoder = not getattr(config, "is_decoder", True) and config.model_type not in ALWAYS_CAUSAL
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or not named or encoder:
        kinds = ", ".join(config.architectures or [config.model_type])
        raise Refused(f"{source} is a {kinds}, not a causal language model: choose one that writes text")
    return config


def _as_tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def check_size(
    source: str, config: Any, target: Target, weights: int | None, names: Container[str] = ()
) -> None:
    """Build the model without memory for its weights, and refuse it where it would have more than there are, or more
    than there is room for.

    Args:
        weights: how many numbers the checkpoint holds; None: not known.
        names: of its tensors, where they are known.
    """
    if getattr(config, "quantization_config", None):
        raise Refused(f"{source} is quantised: give the model with its unquantised weights")
    layers = getattr(config.get_text_config(), "num_hidden_layers", None) or 0
    if layers > MOST_LAYERS:
        raise Refused(f"{source} has {layers:,} layers, at most {MOST_LAYERS} are possible here")
    try:
        with torch.device("meta"), panics_as_errors():
            network = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # a configuration may hold anything
        raise load_refusal(source, "the configuration of ", error) from error
    parameters = sum(parameter.numel() for parameter in network.parameters())  # tied ones once
    if weights is not None and parameters > weights:
        absent = sorted(name for name, _ in network.named_parameters() if name not in names) if names else []
        which = f", {absent[0]} among them" if absent else ""
        raise Refused(
            f"{source} lacks weights{which}: its configuration asks for {parameters:,} numbers, it holds {weights:,}: "
            "damaged or not a causal model"
        )
    itemsize = target.dtype.itemsize if isinstance(target.dtype, torch.dtype) else 2
    target.refuse_unfit(source, parameters * itemsize)


def _refuse_foreign_kernels(source: str, folder: Path) -> None:
    """An attention of the form `owner/name` would be fetched from the Hub and run."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # what is wrong with it is said when it is read as a configuration
    parts = [content]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            for key, value in part.items():
                if str(key).endswith("_implementation") and "/" in json.dumps(value):
                    raise Refused(
                        f"{source} needs code of its own to run, which is never executed here: choose another model"
                    )
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)
