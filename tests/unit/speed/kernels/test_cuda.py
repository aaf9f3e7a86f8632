"""Which CUDA kernel takes which shape."""

from __future__ import annotations

import pytest
import torch
from torch.sparse import SparseSemiStructuredTensorCUSPARSELT, SparseSemiStructuredTensorCUTLASS

from wanda_core.speed.kernels import cuda


def test_shape_rules_are_torchs_own() -> None:
    """Against the table that torch checks by, which is not public."""
    for name, kind in (
        ("cusparselt", SparseSemiStructuredTensorCUSPARSELT),
        ("cutlass", SparseSemiStructuredTensorCUTLASS),
    ):
        for dtype, multiples in cuda.MULTIPLES[name].items():
            rule = kind._DTYPE_SHAPE_CONSTRAINTS[dtype]
            assert multiples == (rule.sparse_min_rows, rule.sparse_min_cols)


@pytest.mark.parametrize(
    ("backend", "shape", "dtype", "reason"),
    [
        ("cusparselt", (48, 16), torch.float16, ""),
        ("cusparselt", (48, 24), torch.float16, "multiples of 16 outputs and 16 inputs, not 48 x 24"),
        ("cutlass", (32, 64), torch.bfloat16, ""),
        ("cutlass", (48, 64), torch.bfloat16, "multiples of 32 outputs and 64 inputs, not 48 x 64"),
        ("cutlass", (32, 64), torch.float32, "float16, bfloat16 and int8, not float32"),
    ],
)
def test_shape_rules(backend: str, shape: tuple[int, int], dtype: torch.dtype, reason: str) -> None:
    assert reason in cuda.why_not(backend, shape, dtype)
    assert bool(reason) == bool(cuda.why_not(backend, shape, dtype))


@pytest.mark.parametrize(
    ("usable", "shape", "chosen"),
    [
        ({"cusparselt", "cutlass"}, (48, 64), "cusparselt"),
        ({"cutlass"}, (64, 64), "cutlass"),
        ({"cutlass"}, (48, 64), None),
        (set(), (64, 64), None),
    ],
)
def test_dispatch(usable: set[str], shape: tuple[int, int], chosen: str | None, monkeypatch) -> None:
    monkeypatch.setattr(cuda, "why_not_here", lambda name, device: "" if name in usable else "not here")
    assert cuda.first_backend(shape, torch.float16, torch.device("cuda")) == chosen


def test_without_cuda_it_says_so() -> None:
    assert {cuda.why_not_here(name) for name in cuda.BACKENDS} == {"no CUDA device on this machine"}
