"""Pruned weights without their zeros: 2:4 as values and 2-bit places, any mask as values and one bit a weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.packed_mask import PackedMask


def is_two_four(mask: Tensor) -> bool:
    """Whether exactly 2 of every 4 consecutive inputs of a row are kept; `mask` is bool (out_features, in_features)."""
    return mask.shape[1] % 4 == 0 and bool((mask.reshape(-1, 4).sum(dim=1) == 2).all())


_PLACES = torch.tensor([([i for i in range(4) if kept >> i & 1] * 2 + [0, 0])[:2] for kept in range(16)])
"""By a group's four bits of mask: the places of the two that are kept, ascending; of no use where it is not two."""


@dataclass(frozen=True)
class TwoFour:
    """A 2:4 weight: 2.125 bytes a weight in float32, 1.125 in a 2-byte dtype."""

    values: Tensor
    """The kept values, (out_features, in_features / 2), in the weight's dtype."""
    places: Tensor
    """Where in its group of four each kept value lies, 0 to 3; four of them in a byte, the first in the lowest bits:
    uint8 (out_features, ceil(in_features / 8))."""

    @classmethod
    def pack(cls, weight: Tensor, mask: Tensor) -> TwoFour:
        """From a weight (out_features, in_features) and its bool mask.

        Raises:
            Refused: the mask does not keep exactly two of every four inputs.
        """
        if not is_two_four(mask):
            raise Refused("not a 2:4 mask: exactly two of every four inputs of a row must be kept")
        rows, columns = weight.shape
        weight, mask = weight.cpu(), mask.cpu()
        kept = (mask.reshape(-1, 4).to(torch.uint8) * torch.tensor([1, 2, 4, 8], dtype=torch.uint8)).sum(
            dim=1
        )
        places = _PLACES[kept]  # (groups, 2)
        values = _bits(weight).reshape(-1, 4).gather(1, places).view(rows, columns // 2)
        quads = torch.zeros(rows, -(-columns // 8) * 4, dtype=torch.uint8)
        quads[:, : columns // 2] = places.reshape(rows, -1).to(torch.uint8)
        shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8)
        return cls(
            values.view(weight.dtype), (quads.view(rows, -1, 4) << shifts).sum(dim=2, dtype=torch.uint8)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(out_features, in_features)."""
        return self.values.shape[0], 2 * self.values.shape[1]

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.places.nbytes

    def groups(self) -> Tensor:
        """Places of the two kept values of every group: int64 (out_features, in_features / 4, 2)."""
        rows, columns = self.shape
        shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8)
        places = (self.places[:, :, None] >> shifts) & 3
        return places.view(rows, -1)[:, : columns // 2].reshape(rows, columns // 4, 2).long()

    def unpack(self) -> Tensor:
        """The weight with its zeros, (out_features, in_features); kept values bit for bit."""
        rows, columns = self.shape
        values = _bits(self.values).view(rows, columns // 4, 2)
        zeros = torch.zeros(rows, columns // 4, 4, dtype=values.dtype)
        return zeros.scatter_(2, self.groups(), values).view(self.values.dtype).view(rows, columns)


@dataclass(frozen=True)
class Masked:
    """A weight under any mask: the kept values row by row, and a bit for every weight."""

    values: Tensor
    """(kept,), in the weight's dtype."""
    mask: PackedMask

    @classmethod
    def pack(cls, weight: Tensor, mask: Tensor) -> Masked:
        """From a weight (out_features, in_features) and its bool mask."""
        weight, mask = weight.cpu(), mask.cpu()
        return cls(_bits(weight)[mask].view(weight.dtype), PackedMask.pack(mask))

    @property
    def shape(self) -> tuple[int, int]:
        """(out_features, in_features)."""
        return self.mask.bits.shape[0], self.mask.columns

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.mask.bits.nbytes

    def unpack(self) -> Tensor:
        """The weight with its zeros, (out_features, in_features); kept values bit for bit."""
        mask = self.mask.unpack()
        values = _bits(self.values)
        return (
            torch.zeros(mask.shape, dtype=values.dtype).masked_scatter_(mask, values).view(self.values.dtype)
        )


def _bits(values: Tensor) -> Tensor:
    """The same bytes as whole numbers: moving bfloat16 about changes the sign of a NaN."""
    return values.contiguous().view({4: torch.int32, 2: torch.int16}[values.element_size()])
