"""Products with packed weights on a CPU, compiled by numba on the first call and cached.

With one token the time of a product is the time to read the weight, so a format of fewer bytes is a faster product.
With many it is the time to multiply, of which a 2:4 weight needs half; a weight under a bitmask is unpacked into the
processor's cache, some rows and columns at a time. All formats here hold tiles of 32 rows, side by side; rows are
filled up. Values are float32 or bfloat16; products are summed in float32.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wanda_core.speed.kernels import by_pairs, pairs, tiles, two_four, vectors
from wanda_core.speed.kernels.blocks import LANES
from wanda_core.speed.kernels.formats import Masked, TwoFour
from wanda_core.speed.kernels.threads import in_parts

DTYPES = (torch.float32, torch.bfloat16)


PARALLEL_FROM = 2_000_000
"""Weights from which another thread gains more than waking it costs, some 20 microseconds; with many tokens fewer."""


_own = threading.local()


def expands(dtype: torch.dtype) -> bool:
    """Whether this machine spreads kept values of that dtype into lanes by an instruction: else that is slow."""
    return vectors.has("avx512f") if dtype == torch.float32 else vectors.has("avx512vl", "avx512vbmi2")


def disabled() -> bool:
    """Whether numba must not compile, by its NUMBA_DISABLE_JIT: products are then torch's, of the unpacked weight."""
    return bool(numba.config.DISABLE_JIT)


class Tiled(ABC):
    """A weight (out_features, in_features) laid out for a kernel."""

    format: str

    def __init__(
        self, weight: Any, dtype: torch.dtype, arrays: tuple[np.ndarray, ...], multiply: Any
    ) -> None:
        self.shape: tuple[int, int] = (weight.shape[0], weight.shape[1])
        self.dtype = dtype
        self._arrays = arrays
        self._multiply = multiply

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays)

    @property
    def kernel(self) -> str:
        """What computes its products, such as `2:4 numba`."""
        return f"{self.format} unpacked, as numba is disabled" if disabled() else f"{self.format} numba"

    @abstractmethod
    def unpacked(self) -> Tensor:
        """The weight with its zeros, (out_features, in_features) in its dtype."""

    def linear(self, inputs: Tensor) -> Tensor:
        """`inputs @ weight.T`: (..., in_features) -> (..., out_features), in the weight's dtype.

        As many threads as torch may use take part where they gain. Any thread may call, several at once, too.
        """
        if disabled():
            return functional.linear(inputs, self.unpacked())
        rows, columns = self.shape
        flat = inputs.detach().reshape(-1, columns)
        paired = _in_pairs(self.dtype)
        flat = functional.pad(flat.to(self.dtype), (0, columns % 2)) if paired else flat.float()
        count = -(-rows // LANES)
        outputs = torch.zeros(len(flat), count * LANES, dtype=torch.float32)
        arguments = (*self._arrays, _bits(flat), outputs.numpy())
        work = rows * columns * max(1, len(flat) / 5)
        in_parts(
            lambda first, last: self._multiply(*arguments, _scratch(), first, last),
            count,
            1 + int(work / PARALLEL_FROM),
        )
        return outputs[:, :rows].to(self.dtype).contiguous().view(*inputs.shape[:-1], rows)


def _scratch() -> np.ndarray:
    """Memory that every product of the thread uses."""
    if not hasattr(_own, "scratch"):
        size = max(two_four.SCRATCH, tiles.SCRATCH)
        _own.scratch = torch.empty(size, dtype=torch.float32, device="cpu").numpy()
    return _own.scratch


class TiledDense(Tiled):
    """All weights in tiles: what a packed format must beat to be a gain by itself."""

    format = "dense"

    def __init__(self, weight: Tensor) -> None:
        paired = _in_pairs(weight.dtype)
        rows = _in_tiles(functional.pad(weight, (0, weight.shape[1] % 2)) if paired else weight)
        if paired:
            values = _bits(rows.view(len(rows), LANES, -1, 2).permute(0, 2, 1, 3)).view(np.uint32)[..., 0]
        else:
            values = _bits(rows.permute(0, 2, 1))
        multiply = pairs.multiply_dense if paired else tiles.multiply_dense
        super().__init__(weight, weight.dtype, (values,), multiply)

    def unpacked(self) -> Tensor:
        values = self._arrays[0]
        if _in_pairs(self.dtype):
            both = _values(values.view(np.uint16), self.dtype).view(len(values), -1, LANES, 2)
            rows = both.permute(0, 2, 1, 3).reshape(len(values) * LANES, -1)
        else:
            rows = _values(values, self.dtype).permute(0, 2, 1).reshape(len(values) * LANES, -1)
        return rows[: self.shape[0], : self.shape[1]]


class TiledTwoFour(Tiled):
    """A 2:4 weight: two values and half a byte for every group of four; 2.125 bytes a weight, 1.125 in bfloat16."""

    format = "2:4"

    def __init__(self, weight: TwoFour) -> None:
        groups = weight.shape[1] // 4
        kept = weight.groups()
        both = (kept[:, :, 0] | (kept[:, :, 1] << 2)).to(torch.uint8)
        both = functional.pad(_in_tiles(both), (0, groups % 2)).view(-1, LANES, -(-groups // 2), 2)
        places = (both[..., 0] | (both[..., 1] << 4)).permute(0, 2, 1).contiguous().numpy()
        values = _in_tiles(weight.values).view(-1, LANES, groups, 2).permute(0, 2, 1, 3)
        if weight.values.dtype == torch.bfloat16:
            bits = _bits(values).view(np.uint32).reshape(-1, groups, 1, LANES)
        else:
            bits = values.permute(0, 1, 3, 2).contiguous().numpy()
        multiply = pairs.multiply_two_four if _in_pairs(weight.values.dtype) else two_four.multiply
        super().__init__(weight, weight.values.dtype, (bits, places), multiply)

    def unpacked(self) -> Tensor:
        rows, columns = self.shape
        bits, places = self._arrays
        if self.dtype == torch.bfloat16:
            values = _values(bits.view(np.uint16).reshape(len(bits), -1, LANES, 2), self.dtype)
        else:
            values = torch.from_numpy(bits).permute(0, 1, 3, 2)  # (tiles, groups, lanes, 2)
        quads = torch.from_numpy(places)[..., None] >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8)
        quads = (quads & 3).permute(0, 2, 1, 3).reshape(len(bits), LANES, -1, 2)[:, :, : columns // 4].long()
        zeros = torch.zeros(len(bits), LANES, columns // 4, 4, dtype=self.dtype)
        return zeros.scatter_(3, quads, values.permute(0, 2, 1, 3)).view(-1, columns)[:rows]


class TiledMasked(Tiled):
    """A weight under any mask: the kept values and a bit for every weight, 2.125 bytes a weight at 50%."""

    format = "bitmask"

    def __init__(self, weight: Masked) -> None:
        paired = _in_pairs(weight.values.dtype)
        even = (0, weight.shape[1] % 2 if paired else 0)
        mask = _in_tiles(functional.pad(weight.mask.unpack(), even)).permute(0, 2, 1).contiguous()
        values = _in_tiles(functional.pad(weight.unpack(), even)).permute(0, 2, 1)[mask]
        bits = np.packbits(mask.numpy(), axis=2, bitorder="little").view("<u4")[:, :, 0].astype(np.uint32)
        counts = functional.pad(mask.sum(dim=2), (0, -mask.shape[1] % tiles.BLOCK))
        counts = counts.view(len(mask), -1, tiles.BLOCK).sum(dim=2)
        starts = (counts.flatten().cumsum(0) - counts.flatten()).view(counts.shape).numpy()
        multiply = pairs.multiply_masked if paired else tiles.multiply_masked
        super().__init__(weight, weight.values.dtype, (_bits(values), starts, bits), multiply)

    def unpacked(self) -> Tensor:
        values, _, bits = self._arrays
        mask = torch.from_numpy(np.unpackbits(bits.view(np.uint8), bitorder="little")).bool()
        mask = mask.view(*bits.shape, LANES)
        weight = torch.zeros(mask.shape, dtype=self.dtype)
        weight.masked_scatter_(mask, _values(values, self.dtype))
        rows = weight.permute(0, 2, 1).reshape(-1, mask.shape[1])
        return rows[: self.shape[0], : self.shape[1]]


def _in_pairs(dtype: torch.dtype) -> bool:
    """Whether products are those of pairs of bfloat16: see `by_pairs`."""
    return dtype == torch.bfloat16 and by_pairs.available()


def _in_tiles(rows: Tensor) -> Tensor:
    """(rows, n) as (tiles, 32, n), with zero rows added at the end."""
    filled = functional.pad(rows, (0, 0, 0, -len(rows) % LANES))
    return filled.view(-1, LANES, rows.shape[1])


def _bits(values: Tensor) -> np.ndarray:
    """float32 as it is, bfloat16 as whole numbers: what NumPy and numba know."""
    values = values.contiguous()
    return (
        values.numpy() if values.dtype == torch.float32 else values.view(torch.int16).numpy().view(np.uint16)
    )


def _values(bits: np.ndarray, dtype: torch.dtype) -> Tensor:
    if dtype == torch.float32:
        return torch.from_numpy(bits)
    return torch.from_numpy(bits.view(np.int16)).view(dtype)
