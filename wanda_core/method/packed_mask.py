"""A mask at one bit a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class PackedMask:
    """A mask at one bit per weight: every row packed on its own, first input in the highest bit."""

    bits: np.ndarray
    """uint8, (out_features, ceil(in_features / 8))."""
    columns: int

    @classmethod
    def pack(cls, mask: Tensor) -> PackedMask:
        """From a bool mask (out_features, in_features) on any device."""
        rows, columns = mask.shape
        if mask.device.type != "cpu":
            # Where it is: an eighth of the bytes has to come over.
            octets = functional.pad(mask.to(torch.uint8), (0, -columns % 8)).view(rows, -1, 8)
            bits = (octets << _shifts(mask.device)).sum(dim=2, dtype=torch.uint8)
            return cls(bits.cpu().numpy(), columns)
        # Rows one after the other, also where the mask is a transposed view: files take the bytes as they lie.
        return cls(np.ascontiguousarray(np.packbits(mask.numpy(), axis=1)), columns)

    @property
    def kept(self) -> int:
        """How many weights are kept."""
        return int(np.bitwise_count(self.bits).sum(dtype=np.int64))

    def unpack(self, device: torch.device | None = None) -> Tensor:
        """bool, (out_features, in_features), on a device (None: the CPU). True where the weight is kept."""
        if device is not None and device.type != "cpu":
            octets = torch.from_numpy(self.bits).to(device).unsqueeze(2) >> _shifts(device) & 1
            return octets.view(len(self.bits), -1)[:, : self.columns].bool()
        unpacked = np.unpackbits(self.bits, axis=1, count=self.columns)
        return torch.from_numpy(unpacked.view(np.bool_))


def _shifts(device: torch.device) -> Tensor:
    """Where the eight bits of a byte lie, the first in the highest place; uint8 (8,)."""
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
