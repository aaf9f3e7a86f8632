"""The Gram matrix of a layer's inputs."""

from __future__ import annotations

import pytest
import torch

from tests.support.matrices import gram_of
from wanda_core.method.input_statistics import WIDE


@pytest.mark.parametrize("columns", [24, WIDE, WIDE + 3])
def test_gram_matrix(columns: int) -> None:
    inputs = torch.randn(300, columns, generator=torch.Generator().manual_seed(0))
    expected = inputs.double().t() @ inputs.double()
    torch.testing.assert_close(gram_of(inputs).double(), expected, rtol=1e-5, atol=1e-4)


def test_gram_matrix_of_half_inputs_is_summed_in_float32() -> None:
    inputs = (torch.randn(3000, 32, generator=torch.Generator().manual_seed(0)) * 30).half()
    expected = inputs.double().t() @ inputs.double()  # its diagonal is far above float16's 65504
    torch.testing.assert_close(gram_of(inputs).double(), expected, rtol=1e-5, atol=1)
