"""What this machine can do at most: how fast it reads memory, how fast it multiplies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch

from wanda_core.speed.timing import seconds_of

BYTES = 2**28
"""Of what is read, more than caches hold."""

SIDES = (1024, 2048, 4096, 8192)
"""Of the square matrices that are multiplied, from the smallest."""

ENOUGH = 0.05
"""Seconds that the rounds of a size take where a larger one would show no more."""

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
    memory = torch.ones(BYTES // 4, dtype=torch.float32, device=device)
    read = [seconds_of(lambda: memory.sum(), device) for _ in range(ROUNDS + 1)]
    flops = 0.0
    for side in SIDES:
        began = perf_counter()
        matrix = torch.ones(side, side, dtype=dtype, device=device)
        multiplied = [seconds_of(partial(torch.mm, matrix, matrix), device) for _ in range(ROUNDS + 1)]
        flops = max(flops, 2 * side**3 / min(multiplied[1:]))
        if max(perf_counter() - began, sum(multiplied)) > ENOUGH:
            break
    return Peaks(memory.nbytes / min(read[1:]) / 1e9, flops / 1e9)
