"""Latency on a CUDA device."""

from __future__ import annotations

import pytest
import torch

from wanda_core.speed import layer_latency as module


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rows_on_cuda() -> None:
    rows = module.measure_shapes({(256, 512): 1, (48, 40): 1}, [1, 64], torch.device("cuda"), torch.float16)
    by_kernel = {(row["shape"], row["kernel"]): row for row in rows if row["tokens"] == 64}
    for backend in ("cusparselt", "cutlass"):
        row = by_kernel["256x512", f"2:4 {backend}"]
        assert (row["milliseconds"] or 0) > 0 or row["error"]
        assert "multiples of" in by_kernel["48x40", f"2:4 {backend}"]["error"]
    assert by_kernel["256x512", "2:4 cutlass"]["milliseconds"] > 0
