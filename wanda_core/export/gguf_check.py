"""A GGUF file read back as transformers loads it, and compared before it appears."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from wanda_core.errors import Refused, check_stop
from wanda_core.export.gguf_tensors import rounded
from wanda_core.export.verify import same
from wanda_core.machine import is_out_of_memory, refused_if_out_of_memory
from wanda_core.models.gguf_file import gguf_arguments
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.load import quiet
from wanda_core.models.named_sources import is_gguf
from wanda_core.models.prunable_layers import Layer
from wanda_core.models.refusals import first_line
from wanda_core.pruning.result import Pruning

WINDOWS, LENGTH = 2, 64
"""Tokens, drawn at random, on which the logits are compared."""

TOLERANCE = 1e-3
"""Of the largest logit: the weights are the same to the bit, and so are the logits but for the order of sums."""


def read_back(model: LanguageModel, pruning: Pruning, file: Path, stop: threading.Event | None) -> None:
    """Load the file and compare: all weights to the bit with those meant, pruned ones with zero, and the logits.

    Raises:
        Refused: they differ, or the memory does not hold the file's model beside the one that is pruned.
    """
    with refused_if_out_of_memory("out of memory while the file was read back: choose a smaller model"):
        network = _loaded(model, file).to(model.device)
        check_stop(stop)
        weights = (
            (layer, partial(_rounded, pruning, layer))
            for layer in model.prunable.layers
            if layer.name in pruning.masks
        )
        others = pruning.other_weights(model.prunable)
        with model.prunable.computing_with(chain(weights, others), stop), _others_in_f16(model, pruning):
            _compare_weights(model, pruning, network.state_dict(), stop)
            _compare_logits(model, network)


def _rounded(pruning: Pruning, layer: Layer) -> Tensor:
    return rounded(layer, pruning.unrounded(layer), pruning.recipe.bits)


@contextmanager
def _others_in_f16(model: LanguageModel, pruning: Pruning) -> Iterator[None]:
    """Let embeddings, head and layers that were not pruned have the values that they have in the file."""
    pruned = {layer.parameter for layer in model.prunable.layers if layer.name in pruning.masks}
    others = {
        parameter: parameter.data
        for parameter in model.network.parameters()
        if parameter.dim() > 1 and parameter not in pruned and not is_gguf(model.source)
    }
    try:
        for parameter, dense in others.items():
            parameter.data = dense.to(torch.float16).to(dense.dtype)
        yield
    finally:
        for parameter, dense in others.items():
            parameter.data = dense


def _loaded(model: LanguageModel, file: Path) -> Any:
    arguments = gguf_arguments(model.dtype)
    try:
        with quiet():
            network = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, **arguments)
    except (RuntimeError, ValueError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise Refused(f"verification failed: the file cannot be read back: {first_line(error)}") from error
    return network.eval().requires_grad_(False)


def _compare_weights(
    model: LanguageModel, pruning: Pruning, found: dict[str, Tensor], stop: threading.Event | None
) -> None:
    for layer in model.prunable.layers:
        if layer.name not in pruning.masks:
            continue
        weight = found.get(f"{layer.name}.weight")
        mask = pruning.masks[layer.name].unpack(model.device)
        if weight is not None and ((weight.t() if layer.transposed else weight)[~mask] != 0).any():
            raise Refused(f"verification failed: zeros of {layer.name} are not zero after re-reading")
    wanted = model.network.state_dict()
    differing = sorted(name for name in wanted.keys() | found.keys() if not same(wanted, found, name, stop))
    if differing:
        raise Refused(f"verification failed: {differing[0]} differs after re-reading: nothing was written")


@torch.no_grad()
def _compare_logits(model: LanguageModel, network: Any) -> None:
    vocabulary = network.get_input_embeddings().weight.shape[0]
    length = min(LENGTH, model.context or LENGTH)
    tokens = torch.randint(vocabulary, (WINDOWS, length), generator=torch.Generator().manual_seed(0))
    wanted, found = (
        each(input_ids=tokens.to(model.device)).logits.float() for each in (model.network, network)
    )
    apart = float((wanted - found).abs().max())
    if not apart <= TOLERANCE * float(wanted.abs().max()):  # NaN is not, either
        raise Refused(
            f"verification failed: logits differ by {apart:.2g} after re-reading: nothing was written"
        )
