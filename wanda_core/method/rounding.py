"""Round weights as GGUF's Q8_0 and Q4_0 do, on the weights' own device.

Blocks of 32 weights of a row share a scale, which is stored in F16. Formulas: llama.cpp's reference quantisers, which
the package `gguf` has in numpy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.bits import BLOCK, TYPES


def rounded(name: str, weight: Tensor, bits: int) -> Tensor:
    """The weight with the values that it has after it was stored in so many bits; zeros stay zero.

    Args:
        name: of the layer, for messages.
        weight: (out_features, in_features). Where no whole blocks divide its rows, it is rounded to F16.
        bits: 16 leaves it as it is.

    Returns:
        The same shape, dtype and device.

    Raises:
        Refused: it holds NaN, or values whose scale is above the largest of F16.
    """
    if bits == 16:
        return weight
    if not divides(weight):
        values = weight.half()
        _refuse_unless_finite(name, values)
        return values.to(weight.dtype)
    scales, steps = in_steps(name, weight, bits)
    values = steps.float().mul_(scales.float()).add_(0.0)  # no negative zero, of a negative scale
    return values.reshape(weight.shape).to(weight.dtype)


def divides(weight: Tensor) -> bool:
    """Whether its rows are whole blocks."""
    return weight.shape[1] % BLOCK == 0


def in_steps(name: str, weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """What is stored of a weight (out_features, in_features) in 8 or 4 bits.

    Returns:
        The scale of each block, float16 (blocks, 1), and the whole number of steps of each weight, int8 (blocks, 32):
        -127 to 127, or -8 to 7.

    Raises:
        Refused: as `rounded`.
    """
    blocks = weight.float().reshape(-1, BLOCK)
    size = blocks.abs()
    largest = size.amax(dim=1, keepdim=True)
    scales = (largest if bits == 8 else _first(blocks, size == largest)) / (127 if bits == 8 else -8)
    stored = torch.where(largest.isfinite(), scales, torch.nan).half()
    _refuse_unless_finite(name, stored)
    inverse = torch.where(stored == 0, 0.0, 1 / scales)  # as small as that, all values come back as zero
    steps = blocks * inverse
    if bits == 4:
        steps = steps.add_(8.5).trunc_().clamp_(0, 15).sub_(8)
    else:  # halves away from zero
        whole = steps.trunc()
        steps = whole + steps.sub_(whole).mul_(2).trunc_()
    return stored, steps.to(torch.int8)


def _first(blocks: Tensor, where: Tensor) -> Tensor:
    """The first value of each block (blocks, 32) `where` that is True: (blocks, 1)."""
    places = torch.arange(BLOCK, device=blocks.device)
    return blocks.gather(1, torch.where(where, places, BLOCK - 1).amin(dim=1, keepdim=True))


def _refuse_unless_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise Refused(
            f"{name} holds NaN or a value too large for F16: it cannot be rounded to {TYPES[8]} or {TYPES[4]}"
        )
