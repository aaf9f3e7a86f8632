"""What this machine can do at most: how fast it reads memory, how fast it multiplies."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wanda_core.speed.timing import seconds_of

BYTES = 2**28
"""Of what is read, more than caches hold."""

SIDE = 1024
"""Of the square matrices that are multiplied, eight times that on CUDA."""

ROUNDS = 5


@dataclass(frozen=True)
class Peaks:
    """The best of some rounds."""

    gigabytes_per_second: float
    """Read from memory in a second: the sum of a large array."""
    gigaflops_per_second: float
    """Multiplications and additions in a second, in thousands of millions: a product of square matrices."""


def measure_peaks(device: torch.device, dtype: torch.dtype) -> Peaks:
    """Measure both, within a second on two cores; the products are of `dtype`, by torch."""
    memory = torch.ones(BYTES // 4, device=device)
    side = 8 * SIDE if device.type == "cuda" else SIDE
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    read, multiplied = [], []
    for _ in range(ROUNDS + 1):
        read.append(seconds_of(lambda: memory.sum(), device))
        multiplied.append(seconds_of(lambda: matrix @ matrix, device))
    return Peaks(memory.nbytes / min(read[1:]) / 1e9, 2 * side**3 / min(multiplied[1:]) / 1e9)
