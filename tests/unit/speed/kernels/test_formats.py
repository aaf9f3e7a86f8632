"""Packed formats come back to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.kernels import pruned
from wanda_core.errors import Refused
from wanda_core.speed.kernels.formats import Masked, TwoFour, is_two_four

SHAPES = [(32, 4), (1, 8), (33, 12), (31, 576), (192, 576), (100, 1540), (576, 1536), (2050, 1024)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_two_four_comes_back_to_the_bit(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight, mask = pruned(*shape)
    weight = weight.to(dtype)
    weight[0, mask[0]] = torch.tensor([-0.0, float("nan")] * (shape[1] // 4), dtype=dtype)
    packed = TwoFour.pack(weight, mask)
    element = weight.element_size()
    bits = np.dtype(f"u{element}")
    expected = np.where(mask.numpy(), weight.view(torch.uint8).numpy().view(bits), 0)
    assert (packed.unpack().view(torch.uint8).numpy().view(bits) == expected).all()
    assert packed.nbytes == shape[0] * (shape[1] // 2 * element + -(-shape[1] // 8))


def test_two_four_takes_less_than_its_share_of_the_bytes() -> None:
    weight, mask = pruned(576, 1536)
    assert TwoFour.pack(weight, mask).nbytes == weight.nbytes * 2.125 / 4


def test_places_are_documented() -> None:
    """Values in order, four places in a byte, the first in the lowest bits."""
    weight = torch.tensor([[0, 5.0, 0, 6.0, 7.0, 8.0, 0, 0]])
    packed = TwoFour.pack(weight, weight != 0)
    assert packed.values.tolist() == [[5, 6, 7, 8]]
    assert packed.places.tolist() == [[1 | 3 << 2 | 0 << 4 | 1 << 6]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (40, 100)])
def test_any_mask_comes_back_to_the_bit(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape)
    mask = torch.rand(shape) < 0.4
    again = Masked.pack(weight, mask).unpack()
    assert again.equal(torch.where(mask, weight, 0))


@pytest.mark.parametrize(
    "mask", [[[1, 1, 1, 0]], [[1, 0, 0, 0]], [[1, 1, 0, 0, 1, 1]], [[1, 1, 0, 0, 0, 0, 0, 0]]]
)
def test_what_is_not_two_four_is_refused(mask: list[list[int]]) -> None:
    mask = torch.tensor(mask, dtype=torch.bool)
    assert not is_two_four(mask)
    with pytest.raises(Refused, match="not a 2:4 mask"):
        TwoFour.pack(torch.ones(mask.shape), mask)
