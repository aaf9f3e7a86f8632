"""A model loaded so that its weights stay in their files, and are brought into memory block by block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import PreTrainedModel

from wanda_core.errors import Refused
from wanda_core.models.block_stream import BlockStream
from wanda_core.models.mapped_files import MAPS, MappedFiles, stored_dtypes
from wanda_core.models.prunable_layers import decoder_blocks
from wanda_core.models.target import Target

COMPUTING = torch.float32
"""What a model on a CPU computes in, whatever its files hold."""

ASK_THE_HEAD = ("mamba", "mamba2", "falcon_mamba", "xlstm")
"""Families whose forward converts to the dtype of the head's weight before the head is called: that of the file."""

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def refuse_unstreamable(target: Target, gguf: bool) -> None:
    """Refuse what streaming was asked for and cannot be, before anything is read."""
    if target.device.type != "cpu":
        raise Refused("{stream} brings weights into the machine's own memory: choose cpu for {device}")
    if target.dtype != COMPUTING:
        raise Refused("{stream} computes in float32, whatever the files hold: leave {dtype} at auto")
    if gguf:
        raise Refused(
            "{stream} does not apply to GGUF: its weights are unpacked when they are read, so that they cannot be used "
            "where they lie; give the model's safetensors"
        )
    if not MAPS.exists():
        raise Refused(
            "{stream} needs Linux: nowhere else can be seen whether weights are used where they lie"
        )


def refuse_assembled(source: str, network: nn.Module, names: Container[str]) -> None:
    """Refuse, before they fill the memory, experts whose matrices are put together from tensors of their own.

    Args:
        names: of the tensors in the files.
    """
    for name, parameter in network.named_parameters():
        if parameter.dim() == 3 and name not in names:
            raise _assembled(source, name)


def _assembled(source: str, name: str) -> Refused:
    return Refused(
        f"{source} cannot be read block by block: {name} is put together when the model is loaded, and is no longer in "
        "a file"
    )


def stored_dtype(source: str, files: Sequence[Path]) -> torch.dtype:
    """The one dtype that all weights are stored in.

    Raises:
        Refused: there are several, or none that a model computes with.
    """
    found = stored_dtypes(files)
    if len(found) != 1 or not found <= DTYPES.keys():
        raise Refused(
            f"{source} cannot be read block by block: its files hold {', '.join(sorted(found))}, and what has to be "
            "converted when it is loaded is no longer in a file"
        )
    return DTYPES[found.pop()]


def stream(source: str, network: PreTrainedModel, files: MappedFiles) -> None:
    """Let a network that was loaded in its files' dtype compute in float32, bringing its weights into memory block by
    block, as the same network loaded in float32 would compute.

    Raises:
        Refused: some of its weights were copied or converted when it was loaded, it has no blocks, or its forward
            looks at the head's weight before it calls the head.
    """
    if network.config.model_type in ASK_THE_HEAD:
        raise Refused(
            f"{source} cannot be read block by block: {network.config.model_type} looks at its head before it is there"
        )
    outside = files.first_outside((name, p.data) for name, p in network.named_parameters())
    if outside is not None:
        raise _assembled(source, outside)
    _widen_buffers(network)
    for module in network.modules():
        if isinstance(module, PreTrainedModel):
            module.config.dtype = COMPUTING
    BlockStream(network, decoder_blocks(network), COMPUTING, files)


def _widen_buffers(network: PreTrainedModel) -> None:
    """Give every buffer the value that it has in a model made in float32: some are computed when it is made, such as
    the scale of Gemma's embeddings, and were rounded."""
    kept = network.state_dict().keys()
    with _without_weights():
        made = dict(type(network)(network.config).named_buffers())
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point() and buffer.dtype != made[name].dtype:
            buffer.data = buffer.to(made[name].dtype) if name in kept else made[name]


@contextmanager
def _without_weights() -> Iterator[None]:
    """Let modules that this thread makes have no memory for their parameters."""
    thread = threading.get_ident()

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        if threading.get_ident() != thread:
            return None
        return nn.Parameter(parameter.to("meta"), requires_grad=False)

    handle = register_module_parameter_registration_hook(cast(Callable[..., None], on_meta))
    try:
        yield
    finally:
        handle.remove()
