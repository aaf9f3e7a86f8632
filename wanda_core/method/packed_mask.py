"""A mask at one bit a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PackedMask:
    """A mask at one bit per weight: every row packed on its own, first input in the highest bit."""

    bits: np.ndarray
    """uint8, (out_features, ceil(in_features / 8))."""
    columns: int

    @classmethod
    def pack(cls, mask: Tensor) -> PackedMask:
        """From a bool mask (out_features, in_features) on any device."""
        # Rows one after the other, also where the mask is a transposed view: files take the bytes as they lie.
        return cls(np.ascontiguousarray(np.packbits(mask.cpu().numpy(), axis=1)), mask.shape[1])

    def unpack(self) -> Tensor:
        """bool, (out_features, in_features), on the CPU. True where the weight is kept."""
        unpacked = np.unpackbits(self.bits, axis=1, count=self.columns)
        return torch.from_numpy(unpacked.view(np.bool_))
