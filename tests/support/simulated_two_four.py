"""torch's 2:4 products for CUDA, played on the CPU: the same formats and the same refusals by compute capability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.sparse._semi_structured_conversions import sparse_semi_structured_to_dense_cutlass

if TYPE_CHECKING:
    from tests.support.simulated_device import SimulatedCuda


def registered(machine: SimulatedCuda) -> torch.library.Library:
    """The kernels, known to torch as long as the returned library lives."""
    library = torch.library.Library("aten", "IMPL")

    def cutlass_mm(packed: Tensor, meta: Tensor, dense: Tensor, *, out_dtype: object = None) -> Tensor:
        # The kernel asks for the major version 8, not for 8 or newer.
        if machine.capability[0] != 8:
            raise RuntimeError(
                "_sparse_semi_structured_mm: Supported only on GPUs with compute capability 8.x"
            )
        return sparse_semi_structured_to_dense_cutlass(packed, meta) @ dense

    def cutlass_addmm(
        bias: Tensor,
        packed: Tensor,
        meta: Tensor,
        dense: Tensor,
        *,
        alpha: float = 1,
        beta: float = 1,
        out_dtype: object = None,
    ) -> Tensor:
        return alpha * cutlass_mm(packed, meta, dense) + beta * bias.unsqueeze(1)

    def compress(weight: Tensor) -> Tensor:
        """The kept values, then their places, four in a byte: 9/16 of the weight's size."""
        _refuse_cusparselt(machine)
        rows, columns = weight.shape
        groups = weight.reshape(-1, 4)
        places = (groups == 0).to(torch.uint8).argsort(dim=1, stable=True)[:, :2].sort(dim=1).values
        shifts = torch.tensor([0, 2, 4, 6])
        packed = (places.reshape(-1, 4) << shifts).sum(dim=1).to(torch.uint8)
        values = groups.gather(1, places).reshape(-1)
        return torch.cat([values, packed.view(weight.dtype)]).view(rows, columns * 9 // 16)

    def cusparselt_mm(
        compressed: Tensor,
        dense: Tensor,
        bias: Tensor | None = None,
        alpha: Tensor | None = None,
        out_dtype: object = None,
        transpose_result: bool = False,
        *_: int,
    ) -> Tensor:
        _refuse_cusparselt(machine)
        rows, columns = compressed.shape[0], compressed.shape[1] * 16 // 9
        flat = compressed.reshape(-1)
        values, packed = flat[: rows * columns // 2], flat[rows * columns // 2 :].view(torch.uint8)
        places = (packed[:, None] >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8)) & 3
        groups = torch.zeros(rows * columns // 4, 4, dtype=compressed.dtype)
        weight = groups.scatter_(1, places.view(-1, 2).long(), values.view(-1, 2)).view(rows, columns)
        result = weight @ dense
        if bias is not None:
            result = result + bias.unsqueeze(1)
        return result.t().contiguous() if transpose_result else result

    library.impl("_sparse_semi_structured_mm", cutlass_mm, "CPU")
    library.impl("_sparse_semi_structured_addmm", cutlass_addmm, "CPU")
    library.impl("_cslt_compress", compress, "CPU")
    library.impl("_cslt_sparse_mm", cusparselt_mm, "CPU")
    return library


def _refuse_cusparselt(machine: SimulatedCuda) -> None:
    if not machine.cusparselt or machine.capability < (8, 0):
        raise RuntimeError("cuSPARSELt not supported on your machine.")
