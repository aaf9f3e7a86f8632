"""The blocks as they are written for other processors than one with AVX-512: registers of 4 and of 8 float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit

from tests.support.kernels import pruned
from wanda_core.speed.kernels import by_rows, by_tokens, vectors
from wanda_core.speed.kernels.cpu import TiledTwoFour
from wanda_core.speed.kernels.formats import TwoFour

COLUMNS, GROUPS = 60, 15
"""An odd number of groups."""

WIDTHS = [
    4,
    pytest.param(8, marks=pytest.mark.skipif(not vectors.has("avx"), reason="no AVX")),
]


def arrays(dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One tile's values and places, and its weight (32, COLUMNS) in float64."""
    weight, mask = pruned(32, COLUMNS)
    weight = weight.to(dtype)
    values, places = TiledTwoFour(TwoFour.pack(weight, mask))._arrays
    return values, places, weight.double().numpy()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows(width: int, dtype: torch.dtype) -> None:
    block = by_rows.two_four(width, 1)

    @njit
    def multiply(values, places, inputs, outputs):
        for lane in range(0, 32, width):
            tokens = inputs.shape[0]
            block(values, lane, places, lane, inputs, 0, 60, outputs, lane, 32, 15, tokens)

    values, places, weight = arrays(dtype)
    inputs = np.random.default_rng(0).normal(size=(15, COLUMNS)).astype(np.float32)  # 8, 4, 2 and 1 at once
    outputs = np.zeros((15, 32), np.float32)
    multiply(values, places, inputs, outputs)
    np.testing.assert_allclose(outputs, inputs.astype(float) @ weight.T, atol=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("wide", "dtype"), [(2, torch.float32), (3, torch.bfloat16), (4, torch.float32), (4, torch.bfloat16)]
)
def test_tokens(width: int, wide: int, dtype: torch.dtype) -> None:
    block, rows = by_tokens.two_four(wide, width), by_tokens.rows_at_once(wide)
    apart = wide * width

    @njit
    def multiply(values, places, panel, sums):
        for row in range(0, 32, rows):
            block(values, row, places, row, panel, 0, sums, row * apart, 15)

    values, places, weight = arrays(dtype)
    panel = np.random.default_rng(0).normal(size=(COLUMNS, apart)).astype(np.float32)
    sums = np.zeros((32, apart), np.float32)
    multiply(values, places, panel, sums)
    np.testing.assert_allclose(sums, weight @ panel.astype(float), atol=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_transpose(width: int) -> None:
    square = by_tokens.transpose(width)

    @njit
    def transpose(source, target):
        square(source, 1, 20, target, 2, 30)

    source = np.arange(width * 20, dtype=np.float32)
    target = np.zeros(width * 30, np.float32)
    transpose(source, target)
    whole = source.reshape(width, 20)[:, 1 : width + 1]
    assert (target.reshape(width, 30)[:, 2 : width + 2] == whole.T).all()
