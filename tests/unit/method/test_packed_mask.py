"""Masks of one bit a weight."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wanda_core.method.packed_mask import PackedMask


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_packed_masks_come_back(mask: np.ndarray) -> None:
    packed = PackedMask.pack(torch.from_numpy(mask))
    assert packed.bits.nbytes == mask.shape[0] * math.ceil(mask.shape[1] / 8)
    assert torch.equal(packed.unpack(), torch.from_numpy(mask))


def test_the_first_input_is_in_the_highest_bit() -> None:
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, [0, 8]] = True
    assert PackedMask.pack(mask).bits.tolist() == [[0b1000_0000, 0b1000_0000]]
