"""Products of the CUDA kernels."""

from __future__ import annotations

import pytest
import torch

from tests.support.kernels import two_four_mask
from wanda_core.speed.kernels import cuda as kernels


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", kernels.BACKENDS)
def test_cuda_product(backend: str, dtype: torch.dtype, cuda: torch.device) -> None:
    if reason := kernels.why_not_here(backend, cuda):
        pytest.skip(reason)
    weight = (torch.randn(256, 512) * two_four_mask(256, 512)).to(cuda, dtype)
    sparse = kernels.compress(weight, backend)
    for tokens in (1, 7, 64):
        inputs = torch.randn(tokens, 512, device=cuda, dtype=dtype)
        expected = inputs.double() @ weight.double().T
        scale = inputs.double().abs() @ weight.double().abs().T
        error = (torch.nn.functional.linear(inputs, sparse).double() - expected).abs()
        assert (error <= 4 * torch.finfo(dtype).eps * scale).all()
    assert sparse.to_dense().equal(weight)
