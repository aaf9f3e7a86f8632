"""Rounding to bits, against the package `gguf`'s own quantisers, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, dequantize, quantize
from torch import Tensor

from wanda_core import Refused
from wanda_core.method.bits import TYPES
from wanda_core.method.rounding import in_steps, rounded


def by_gguf(weight: Tensor, bits: int) -> np.ndarray:
    kind = GGMLQuantizationType[TYPES[bits]]
    return dequantize(quantize(weight.numpy(), kind), kind)


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    usual = torch.randn(48, 256, generator=generator) * 0.02
    halves = torch.arange(-64, 64, dtype=torch.float32).div(2).reshape(2, 64)
    halves[:, ::32] = 127 / 2  # steps of one half: every other value lies between two
    ties = torch.tensor([[0.5, -1.0, 1.0, *[0.25] * 29], [0.5, 1.0, -1.0, *[0.25] * 29]])
    sparse = usual * (torch.rand(usual.shape, generator=generator) > 0.7)
    sparse[:, :64] = 0  # whole blocks
    return {"usual": usual, "halves": halves, "ties": ties, "sparse": sparse, "tiny": usual * 1e-42}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", list(weights()))
def test_values_are_those_of_gguf(kind: str, bits: int) -> None:
    weight = weights()[kind]
    found = rounded("a", weight, bits)
    assert found.numpy().tobytes() == (by_gguf(weight, bits) + 0.0).tobytes()
    assert (found[weight == 0] == 0).all()
    assert rounded("a", found, bits).equal(found)  # once more changes nothing


def test_sixteen_bits_are_the_weight_itself() -> None:
    weight = weights()["usual"]
    assert rounded("a", weight, 16) is weight


@pytest.mark.parametrize("bits", [8, 4])
def test_half_precision_is_rounded_in_float32(bits: int) -> None:
    weight = weights()["usual"].bfloat16()
    found = rounded("a", weight, bits)
    assert found.dtype == torch.bfloat16
    assert found.equal(torch.from_numpy(by_gguf(weight.float(), bits)).bfloat16())


def test_rows_of_no_whole_blocks_are_f16() -> None:
    weight = torch.randn(3, 40)
    assert rounded("a", weight, 4).equal(weight.half().float())


def test_steps_are_whole_numbers_of_their_bits() -> None:
    for bits, (least, most) in {8: (-127, 127), 4: (-8, 7)}.items():
        scales, steps = in_steps("a", weights()["usual"], bits)
        assert (int(steps.min()), int(steps.max())) == (least, most)
        assert scales.dtype == torch.float16


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e9])
@pytest.mark.parametrize("width", [64, 40])
def test_what_cannot_be_rounded_is_refused(value: float, bits: int, width: int) -> None:
    weight = torch.randn(4, width)
    weight[2, 35] = value
    with pytest.raises(Refused, match=r"blocks\.3 holds NaN or a value too large for F16"):
        rounded("blocks.3", weight, bits)
