"""A model's configuration, judged before any weight is read: of the right kind, and not larger than its weights."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_module_registration_hook
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from wanda_core.errors import Refused
from wanda_core.models.block_stream import largest_part
from wanda_core.models.load_streamed import refuse_assembled
from wanda_core.models.prunable_layers import decoder_blocks
from wanda_core.models.refusals import load_refusal
from wanda_core.models.target import Target
from wanda_core.rust_panics import panics_as_errors

ALWAYS_CAUSAL = ("gpt_neox", "gpt_neox_japanese")
"""Decoders whose configurations have `is_decoder` false all the same, Pythia's among them."""

MOST_LAYERS = 512
"""Decoder blocks; the deepest published models have fewer than 200. Each takes memory even without its weights."""

MOST_MODULES = 200_000
"""Parts of a network, single linear layers say; those of 100 blocks with 500 experts each are fewer."""

MOST_LABELS = 100_000

COUNTS = re.compile(r"(layers?|labels)$")
"""Settings that transformers makes lists of as long as they say, before anybody can look at the configuration."""


def causal_config(source: str, folder: Path) -> Any:
    """The configuration, refused unless it is that of a causal language model whose code transformers has."""
    _refuse_hostile(source, folder)
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
        with torch.device("meta"), panics_as_errors(), _few_modules():
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
    # Buffers are computed from the configuration, whatever weights there are: a mask of all positions by all, say.
    buffers = sum(buffer.nbytes for buffer in network.buffers())
    needed = parameters * itemsize + buffers
    if target.stream and names:
        refuse_assembled(source, network, names)
    target.refuse_unfit(
        source,
        needed,
        block=lambda: largest_part(network, decoder_blocks(network)) * itemsize + buffers,
    )


@contextmanager
def _few_modules() -> Iterator[None]:
    """Break off where a network gets more parts than any has: each takes memory, also without its weights."""
    thread, made = threading.get_ident(), 0

    def count(parent: Any, name: str, module: Any) -> None:
        nonlocal made
        made += threading.get_ident() == thread
        if made > MOST_MODULES:
            raise ValueError(f"it has more than {MOST_MODULES:,} parts")

    handle = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _refuse_hostile(source: str, folder: Path) -> None:
    """Refuse what does harm as soon as transformers reads it: an attention of the form `owner/name` would be fetched
    from the Hub and run, and lists as long as a number says would take all memory."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # what is wrong with it is said when it is read as a configuration
    parts = [content]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            for key, value in part.items():
                if "_implementation" in key and "/" in json.dumps(value):
                    raise Refused(
                        f"{source} needs code of its own to run, which is never executed here: choose another model"
                    )
                most = MOST_LABELS if key.endswith("labels") else MOST_LAYERS
                if isinstance(value, int | float) and value > most and COUNTS.search(key):
                    what = key.rpartition("_")[2].removesuffix("s") + "s"
                    raise Refused(
                        f"{source} has {min(value, 1e15):,.0f} {what}, at most {most:,} are possible here"
                    )
            parts.extend(part.values())
        elif isinstance(part, list):
            parts.extend(part)
