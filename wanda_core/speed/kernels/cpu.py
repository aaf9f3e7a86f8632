"""Products with packed weights on a CPU: numba kernels, compiled on the first call and cached.

With one token the time of a product is the time to read the weight, so a format of fewer bytes is a faster product.
All formats here hold tiles of 32 rows, side by side: the inner loops run over 32 accumulators, which compilers turn
into vector instructions. Values are float32; rows are filled up to a multiple of 32.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import numba
import numpy as np
import torch
from numba import prange
from torch import Tensor

from wanda_core.speed.kernels import lanes
from wanda_core.speed.kernels.compiled import njit
from wanda_core.speed.kernels.formats import Masked, TwoFour

LANES = lanes.LANES


FEW = 8
"""Most tokens that the kernels take; from there on a dense product with the unpacked weight is faster, see
tests/benchmarks/latency.py."""


PARALLEL_FROM = 2_000_000
"""Weights from which a second thread gains more than waking it costs, some 70 microseconds."""


FASTMATH = {"contract", "reassoc", "nsz"}
"""Sums in any order, fused; infinities and NaN stay what they are."""


BLOCK = 64
"""Groups of four inputs whose products are added up before they join the total: short sums round less."""

if numba.config.THREADING_LAYER == "default":
    # The one that is there everywhere and survives a fork. Its workers sleep between calls: those of OpenMP spin, and
    # fight with torch's own for the cores.
    numba.config.THREADING_LAYER = "workqueue"


_scratch = threading.local()


_NONE = torch.empty(0)


_one_caller = threading.Lock()
"""That layer ends the process where two threads start parallel work at once."""


@njit(fastmath=FASTMATH)
def _store(total, outputs, token, tile):
    for lane in range(min(LANES, outputs.shape[1] - LANES * tile)):
        outputs[token, LANES * tile + lane] = total[lane]


@njit(fastmath=FASTMATH)
def _dense_tile(weights, inputs, outputs, tile):
    """`weights`: float32 (tiles, in_features, lanes)."""
    part = np.empty(LANES, np.float32)
    for token in range(outputs.shape[0]):
        total = np.zeros(LANES, np.float32)
        for start in range(0, weights.shape[1], 4 * BLOCK):
            part[:] = 0
            for column in range(start, min(start + 4 * BLOCK, weights.shape[1])):
                x = inputs[token, column]
                for lane in range(LANES):
                    part[lane] += weights[tile, column, lane] * x
            total += part
        _store(total, outputs, token, tile)


@njit(fastmath=FASTMATH)
def _two_four_tile(values, places, inputs, outputs, tile):
    """`values`: float32 (tiles, groups, 2, lanes); `places`: uint8 (tiles, groups, lanes), first + 4 * second."""
    part = np.empty(LANES, np.float32)
    for token in range(outputs.shape[0]):
        total = np.zeros(LANES, np.float32)
        for start in range(0, values.shape[1], BLOCK):
            part[:] = 0
            for group in range(start, min(start + BLOCK, values.shape[1])):
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
                    part[lane] += values[tile, group, 0, lane] * x + values[tile, group, 1, lane] * y
            total += part
        _store(total, outputs, token, tile)


@njit()
def _unpack_two_four(values, places, weight):
    for tile in range(values.shape[0]):
        for group in range(values.shape[1]):
            for place in range(4):
                for lane in range(LANES):
                    both = places[tile, group, lane]
                    kept = values[tile, group, 0, lane] if both & 3 == place else np.float32(0)
                    kept = values[tile, group, 1, lane] if both >> 2 == place else kept
                    weight[4 * group + place, LANES * tile + lane] = kept


@njit(fastmath=FASTMATH)
def _masked_tile(values, starts, masks, inputs, outputs, tile):
    """`values`: float32 (kept,); `starts`: int64 (tiles,), each tile's first value; `masks`: uint32 (tiles,
    in_features), a bit for each lane."""
    part = np.empty(LANES, np.float32)
    for token in range(outputs.shape[0]):
        total = np.zeros(LANES, np.float32)
        place = starts[tile]
        for start in range(0, masks.shape[1], 4 * BLOCK):
            part[:] = 0
            for column in range(start, min(start + 4 * BLOCK, masks.shape[1])):
                mask = masks[tile, column]
                lanes.add_kept(values, place, mask, inputs[token, column], part, 0)
                place += lanes.count(mask)
            total += part
        _store(total, outputs, token, tile)


@njit()
def _unpack_masked(values, starts, masks, weight):
    """`weight` holds zeros."""
    flat = weight.reshape(-1)
    for tile in range(masks.shape[0]):
        place = starts[tile]
        for column in range(masks.shape[1]):
            mask = masks[tile, column]
            lanes.add_kept(values, place, mask, np.float32(1), flat, column * weight.shape[1] + LANES * tile)
            place += lanes.count(mask)


@njit()
def _dense(weights, inputs, outputs):
    for tile in range(weights.shape[0]):
        _dense_tile(weights, inputs, outputs, tile)


@njit(parallel=True)
def _dense_in_parallel(weights, inputs, outputs):
    for tile in prange(weights.shape[0]):
        _dense_tile(weights, inputs, outputs, tile)


@njit()
def _two_four(values, places, inputs, outputs):
    for tile in range(values.shape[0]):
        _two_four_tile(values, places, inputs, outputs, tile)


@njit(parallel=True)
def _two_four_in_parallel(values, places, inputs, outputs):
    for tile in prange(values.shape[0]):
        _two_four_tile(values, places, inputs, outputs, tile)


@njit()
def _masked(values, starts, masks, inputs, outputs):
    for tile in range(masks.shape[0]):
        _masked_tile(values, starts, masks, inputs, outputs, tile)


@njit(parallel=True)
def _masked_in_parallel(values, starts, masks, inputs, outputs):
    for tile in prange(masks.shape[0]):
        _masked_tile(values, starts, masks, inputs, outputs, tile)


class Tiled(ABC):
    """A weight (out_features, in_features) laid out for a kernel."""

    def __init__(self, shape: tuple[int, int], arrays: tuple[np.ndarray, ...], kernels: tuple[Any, Any]):
        self.shape = shape
        self._arrays = arrays
        self._kernels = kernels

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays)

    @abstractmethod
    def unpack(self, weight: np.ndarray) -> None:
        """Fill `weight`, float32 (in_features, rows filled up), with the weight and its zeros."""

    def transposed(self) -> Tensor:
        """The weight with its zeros, float32 (in_features, out_features)."""
        weight = torch.empty(self.shape[1], self._filled_rows)
        self.unpack(weight.numpy())
        return weight[:, : self.shape[0]]

    def product(self, inputs: Tensor) -> Tensor:
        """`inputs @ weight.T` for a few tokens: float32 (tokens, in_features) -> (tokens, out_features).

        More threads are used where they gain and torch may use them. Any thread may call: parallel products wait for
        each other.
        """
        outputs = torch.empty(len(inputs), self.shape[0])
        arguments = (*self._arrays, inputs.detach().contiguous().numpy(), outputs.numpy())
        threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        if threads == 1 or self.shape[0] * self.shape[1] < PARALLEL_FROM:
            self._kernels[0](*arguments)
            return outputs
        with _one_caller:
            numba.set_num_threads(threads)
            self._kernels[1](*arguments)
        return outputs

    def linear(self, inputs: Tensor) -> Tensor:
        """`inputs @ weight.T` for any number of tokens: (..., in_features) -> (..., out_features).

        Beyond `FEW` tokens through the unpacked weight, which is there only as long as the product takes, in memory
        that every product of the thread uses: fresh memory would cost as much time as unpacking does.
        """
        flat = inputs.reshape(-1, self.shape[1])
        if len(flat) > FEW:
            count = self.shape[1] * self._filled_rows
            if getattr(_scratch, "memory", _NONE).numel() < count:
                _scratch.memory = torch.empty(count)
            weight = _scratch.memory[:count].view(self.shape[1], self._filled_rows)
            self.unpack(weight.numpy())
            return inputs @ weight[:, : self.shape[0]]
        return self.product(flat).view(*inputs.shape[:-1], self.shape[0])

    @property
    def _filled_rows(self) -> int:
        return -(-self.shape[0] // LANES) * LANES


class TiledDense(Tiled):
    """All weights in tiles: what a packed format must beat to be a gain by itself."""

    def __init__(self, weight: Tensor) -> None:
        rows, columns = weight.shape
        tiles = _filled(weight).view(-1, LANES, columns).permute(0, 2, 1).contiguous().numpy()
        super().__init__((rows, columns), (tiles,), (_dense, _dense_in_parallel))

    def unpack(self, weight: np.ndarray) -> None:
        weight[:] = self._arrays[0].transpose(1, 0, 2).reshape(weight.shape)


class TiledTwoFour(Tiled):
    """A 2:4 weight: 2.25 bytes a weight, two values and a byte for every group of four."""

    def __init__(self, weight: TwoFour) -> None:
        columns = weight.shape[1]
        pairs = weight.groups()
        places = _filled((pairs[:, :, 0] | (pairs[:, :, 1] << 2)).to(torch.uint8))
        values = _filled(weight.values).view(-1, LANES, columns // 4, 2)
        # (tiles, lanes, groups, 2) -> (tiles, groups, 2, lanes), and without the 2 for places.
        arrays = (values.permute(0, 2, 3, 1), places.view(-1, LANES, columns // 4).permute(0, 2, 1))
        super().__init__(
            weight.shape,
            tuple(array.contiguous().numpy() for array in arrays),
            (_two_four, _two_four_in_parallel),
        )

    def unpack(self, weight: np.ndarray) -> None:
        _unpack_two_four(*self._arrays, weight)


class TiledMasked(Tiled):
    """A weight under any mask: the kept values and a bit for every weight, 2.125 bytes a weight at 50%."""

    def __init__(self, weight: Masked) -> None:
        rows, columns = weight.shape
        mask = _filled(weight.mask.unpack()).view(-1, LANES, columns).permute(0, 2, 1).contiguous()
        values = _filled(weight.unpack()).view(-1, LANES, columns).permute(0, 2, 1)[mask]
        counts = mask.sum(dim=(1, 2))
        bits = np.packbits(mask.numpy(), axis=2, bitorder="little").view("<u4")[:, :, 0]
        starts = (counts.cumsum(0) - counts).numpy()
        arrays = (values.numpy(), starts, bits.astype(np.uint32))
        super().__init__((rows, columns), arrays, (_masked, _masked_in_parallel))

    def unpack(self, weight: np.ndarray) -> None:
        weight[:] = 0
        _unpack_masked(*self._arrays, weight)


def _filled(rows: Tensor) -> Tensor:
    """With zero rows added up to a multiple of 32."""
    filled = torch.zeros(-(-len(rows) // LANES) * LANES, *rows.shape[1:], dtype=rows.dtype)
    filled[: len(rows)] = rows
    return filled


def threading_layer() -> str:
    """How parallel kernels are run: numba's name of it, or that none has run yet."""
    try:
        return numba.threading_layer()
    except ValueError:
        return "none needed so far"
