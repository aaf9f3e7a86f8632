"""Bytes of a model's weights at a point: as a file, without its zeros, and compressed.

The layers are stored in the point's bits, as GGUF does; all other matrices, which are embeddings and head, in 16 bits,
and what has one dimension (norms, biases) in 32. Names and settings, some kilobytes, are not counted.
"""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wanda_core.errors import check_stop
from wanda_core.method.bits import BLOCK
from wanda_core.method.rounding import divides, in_steps
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning

SAMPLE = 4 * 2**20
"""Bytes of a point that are compressed, of every so many rows of each matrix. All of SmolLM2-135M takes 8 to 17 s at
the level that zips have, as long as its evaluation; these 0.3 to 0.5 s, and come within 1.5%."""


@dataclass
class Bytes:
    """Of some weights."""

    file: int = 0
    """With all zeros."""
    packed: int = 0
    """Kept values, their blocks' scales, and a bit for every weight of a layer that has zeros."""
    deflated: float = 0
    """`file` compressed by deflate at zlib's level 6, as in a zip."""

    def add(self, file: int, packed: int, ratio: float) -> None:
        self.file += file
        self.packed += packed
        self.deflated += file * ratio

    def as_row(self) -> dict[str, int]:
        """As rows have it."""
        return {
            "bytes_file": self.file,
            "bytes_packed": self.packed,
            "bytes_deflated": round(self.deflated),
        }


def point_bytes(
    model: LanguageModel, pruning: Pruning | None, bits: int, stop: threading.Event | None = None
) -> Bytes:
    """Bytes of the model, pruned or (None) dense, its layers in so many bits.

    Raises:
        Stopped: `stop` was set.
    """
    found = Bytes()
    half = torch.bfloat16 if model.dtype == torch.bfloat16 else torch.float16
    every = max(1, -(-model.parameters * bits // 8 // SAMPLE))
    layers = model.prunable.layers
    for layer in layers:
        check_stop(stop)
        pruned = pruning is not None and layer.name in pruning.masks
        weight = pruning.unrounded(layer) if pruning is not None and pruned else layer.weight
        stored = bits if pruning is None or pruned else 16
        if not divides(weight):
            stored = 16
        scales = 2 * weight.numel() // BLOCK if stored < 16 else 0
        file = weight.numel() * stored // 8 + scales
        packed = file
        if pruning is not None and pruned:
            kept = pruning.masks[layer.name].kept
            packed = kept * stored // 8 + scales + -(-weight.numel() // 8)
        found.add(file, packed, _ratio(_stored(layer.name, weight[::every], stored, half)))
    pruned_parameters = {layer.parameter for layer in layers}
    for parameter in model.network.parameters():
        check_stop(stop)
        if parameter in pruned_parameters:
            continue
        dtype = half if parameter.dim() > 1 else torch.float32
        file = parameter.numel() * dtype.itemsize
        rows = parameter.data[::every] if parameter.dim() > 1 else parameter.data
        found.add(file, file, _ratio(_bytes(rows.to(dtype))))
    return found


def _ratio(content: bytes) -> float:
    """Of the bytes compressed over those before."""
    return min(1.0, len(zlib.compress(content)) / len(content)) if content else 1.0


def _stored(name: str, weight: Tensor, bits: int, half: torch.dtype) -> bytes:
    """As a file has it: in 8 and 4 bits each block's scale before its steps, of which a byte holds two of 4 bits."""
    if bits == 16:
        return _bytes(weight.to(half))
    scales, steps = in_steps(name, weight, bits)
    if bits == 4:
        low, high = (steps + 8).to(torch.uint8).chunk(2, dim=1)
        steps = (low | high << 4).view(torch.int8)
    blocks = torch.cat([scales.view(torch.uint8), steps.view(torch.uint8)], dim=1)
    return _bytes(blocks)


def _bytes(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.contiguous().view(torch.uint8).cpu().numpy()).tobytes()
