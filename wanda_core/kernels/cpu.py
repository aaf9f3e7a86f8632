"""The 2:4 product on a CPU: numba kernels, compiled on the first call and cached.

With one token the time of a product is the time to read the weight, so a format of fewer bytes is a faster product.
A tile is 32 rows; inside it, every group of four inputs holds two values and a byte with both their places for each of
the 32 rows, side by side: the inner loop runs over 32 accumulators, which compilers turn into vector instructions.
"""

from __future__ import annotations

import threading

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from wanda_core.kernels.formats import TwoFour

LANES = 32
"""Rows of a tile."""
BLOCK = 64
"""Groups whose products are added up before they join the total: short sums round less."""
FEW = 8
"""Most tokens the kernel takes; from there on unpacking the weight for a dense product is faster, see
tests/benchmarks/latency.py."""
PARALLEL_FROM = 2_000_000
"""Weights from which a second thread gains more than waking it costs, some 70 microseconds."""
FASTMATH = {"contract", "reassoc", "nsz"}
"""Sums in any order, fused; infinities and NaN stay what they are."""

if numba.config.THREADING_LAYER == "default":
    # The one that is there everywhere and survives a fork. Its workers sleep between calls: those of OpenMP spin, and
    # fight with torch's own for the cores.
    numba.config.THREADING_LAYER = "workqueue"
_one_caller = threading.Lock()
"""That layer ends the process where two threads start parallel work at once."""


@njit(fastmath=FASTMATH, nogil=True, cache=True)
def _product_of_tile(values, places, inputs, outputs, tile):
    tokens, rows = outputs.shape
    groups = values.shape[1]
    total = np.zeros((tokens, LANES), np.float32)
    part = np.empty((tokens, LANES), np.float32)
    for start in range(0, groups, BLOCK):
        part[:] = 0
        for group in range(start, min(start + BLOCK, groups)):
            for token in range(tokens):
                a = inputs[token, 4 * group]
                b = inputs[token, 4 * group + 1]
                c = inputs[token, 4 * group + 2]
                d = inputs[token, 4 * group + 3]
                for lane in range(LANES):
                    both = places[tile, group, lane]
                    first, second = both & 3, both >> 2
                    # The first of two kept values is never the last of four, the second never the first.
                    x = a if first == 0 else (b if first == 1 else c)
                    y = b if second == 1 else (c if second == 2 else d)
                    part[token, lane] += values[tile, group, 0, lane] * x + values[tile, group, 1, lane] * y
        for token in range(tokens):
            for lane in range(LANES):
                total[token, lane] += part[token, lane]
    for token in range(tokens):
        for lane in range(min(LANES, rows - LANES * tile)):
            outputs[token, LANES * tile + lane] = total[token, lane]


@njit(fastmath=FASTMATH, nogil=True, cache=True)
def _product(values, places, inputs, outputs):
    for tile in range(values.shape[0]):
        _product_of_tile(values, places, inputs, outputs, tile)


@njit(fastmath=FASTMATH, nogil=True, cache=True, parallel=True)
def _product_in_parallel(values, places, inputs, outputs):
    for tile in prange(values.shape[0]):
        _product_of_tile(values, places, inputs, outputs, tile)


@njit(nogil=True, cache=True)
def _unpack(values, places, weight):
    """Fill `weight`, (out_features, in_features), which holds zeros."""
    for tile in range(values.shape[0]):
        for lane in range(min(LANES, weight.shape[0] - LANES * tile)):
            for group in range(values.shape[1]):
                both = places[tile, group, lane]
                weight[LANES * tile + lane, 4 * group + (both & 3)] = values[tile, group, 0, lane]
                weight[LANES * tile + lane, 4 * group + (both >> 2)] = values[tile, group, 1, lane]


class TiledTwoFour:
    """A 2:4 weight in float32, laid out for the kernel: 2.25 bytes a weight, rows filled up to a multiple of 32."""

    def __init__(self, weight: TwoFour) -> None:
        rows, columns = self.shape = weight.shape
        tiles = -(-rows // LANES)
        values = torch.zeros(tiles * LANES, columns // 2)
        values[:rows] = weight.values
        places = torch.zeros(tiles * LANES, columns // 4, dtype=torch.uint8)
        pairs = weight.groups()
        places[:rows] = (pairs[:, :, 0] | (pairs[:, :, 1] << 2)).to(torch.uint8)
        # (tiles, lanes, groups, 2) -> (tiles, groups, 2, lanes), and without the 2 for places.
        self.values = values.view(tiles, LANES, columns // 4, 2).permute(0, 2, 3, 1).contiguous().numpy()
        self.places = places.view(tiles, LANES, columns // 4).permute(0, 2, 1).contiguous().numpy()

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.places.nbytes

    def unpack(self) -> Tensor:
        """The weight with its zeros, float32 (out_features, in_features)."""
        weight = torch.zeros(self.shape)
        _unpack(self.values, self.places, weight.numpy())
        return weight

    def product(self, inputs: Tensor) -> Tensor:
        """`inputs @ weight.T` for a few tokens: float32 (tokens, in_features) -> (tokens, out_features).

        A second thread is used where it gains and torch may use one. Any thread may call: parallel products wait for
        each other.
        """
        outputs = torch.empty(len(inputs), self.shape[0])
        arguments = (self.values, self.places, inputs.contiguous().numpy(), outputs.numpy())
        threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        if threads == 1 or self.shape[0] * self.shape[1] < PARALLEL_FROM:
            _product(*arguments)
            return outputs
        with _one_caller:
            numba.set_num_threads(threads)
            _product_in_parallel(*arguments)
        return outputs

    def linear(self, inputs: Tensor) -> Tensor:
        """`inputs @ weight.T` for any number of tokens: (..., in_features) -> (..., out_features).

        Beyond `FEW` tokens through the unpacked weight, which is there only as long as the product takes.
        """
        flat = inputs.reshape(-1, self.shape[1])
        if len(flat) > FEW:
            return torch.nn.functional.linear(inputs, self.unpack())
        return self.product(flat).view(*inputs.shape[:-1], self.shape[0])


def threading_layer() -> str:
    """How parallel kernels are run: numba's name of it, or that none has run yet."""
    try:
        return numba.threading_layer()
    except ValueError:
        return "none needed so far"
