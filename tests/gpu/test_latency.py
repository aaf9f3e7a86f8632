"""Latency on a CUDA device."""

from __future__ import annotations

import pytest
import torch

from wanda_core.speed import layer_latency as module
from wanda_core.speed.kernels import cuda as kernels


@pytest.mark.gpu
def test_rows_on_cuda(cuda: torch.device) -> None:
    rows = module.measure_shapes({(256, 512): 1, (48, 40): 1}, [1, 64], cuda, torch.float16)
    by_kernel = {(row["shape"], row["kernel"]): row for row in rows if row["tokens"] == 64}
    for backend in kernels.BACKENDS:
        reason = kernels.why_not_here(backend, cuda)
        row = by_kernel["256x512", f"2:4 {backend}"]
        assert row["error"] == reason if reason else row["milliseconds"] > 0
        assert (reason or "multiples of") in by_kernel["48x40", f"2:4 {backend}"]["error"]
