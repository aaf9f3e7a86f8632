"""2:4 on CUDA through torch: which shapes and dtypes its two back ends take, and the dispatch to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.sparse import SparseSemiStructuredTensor

BACKENDS = ("cusparselt", "cutlass")


MULTIPLES = {
    "cusparselt": {torch.float16: (16, 16), torch.bfloat16: (16, 16), torch.int8: (32, 32)},
    "cutlass": {torch.float16: (32, 64), torch.bfloat16: (32, 64), torch.int8: (16, 128)},
}
"""By back end and dtype: what out_features and in_features must be multiples of."""


CAPABILITY = (8, 0)
"""Compute capability from which GPUs have 2:4 units."""
CUTLASS_MAJOR = 8
"""torch's CUTLASS kernel runs on GPUs of this major version only, not on newer ones."""


def why_not(backend: str, shape: tuple[int, int], dtype: torch.dtype) -> str:
    """Why a back end does not take a weight (out_features, in_features) of that dtype; empty where it does."""
    if dtype not in MULTIPLES[backend]:
        return f"{backend} takes float16, bfloat16 and int8, not {str(dtype).removeprefix('torch.')}"
    rows, columns = MULTIPLES[backend][dtype]
    if shape[0] % rows or shape[1] % columns:
        return (
            f"{backend} takes multiples of {rows} outputs and {columns} inputs, not {shape[0]} x {shape[1]}"
        )
    return ""


def why_not_here(backend: str, device: torch.device | None = None) -> str:
    """Why a CUDA device cannot run a back end; empty where it can. None: torch's current one."""
    if not torch.cuda.is_available():
        return "no CUDA device on this machine"
    capability, name = torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device)
    if capability < CAPABILITY:
        return f"{name} has no 2:4 units (compute capability 8.0 or newer)"
    if backend == "cutlass" and capability[0] != CUTLASS_MAJOR:
        return f"torch's CUTLASS kernel runs on compute capability 8.x only, {name} has {capability[0]}.{capability[1]}"
    if backend == "cusparselt" and not torch.backends.cusparselt.is_available():
        return "this build of torch has no cuSPARSELt"
    return ""


def first_backend(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> str | None:
    """The back end that takes such a weight on that device; None: there is none."""
    fitting = (
        name for name in BACKENDS if not why_not_here(name, device) and not why_not(name, shape, dtype)
    )
    return next(fitting, None)


def compress(weight: Tensor, backend: str) -> SparseSemiStructuredTensor:
    """A 2:4 weight on CUDA, (out_features, in_features) with its zeros, for `torch.nn.functional.linear`.

    What `torch.sparse.to_sparse_semi_structured` does, with the back end named instead of set for the whole process.
    """
    kinds = {
        "cusparselt": torch.sparse.SparseSemiStructuredTensorCUSPARSELT,
        "cutlass": torch.sparse.SparseSemiStructuredTensorCUTLASS,
    }
    return kinds[backend].from_dense(weight.contiguous())


def compressed_bytes(weight: SparseSemiStructuredTensor) -> int:
    """Memory that a compressed weight takes."""
    return sum(part.nbytes for part in (weight.packed, weight.meta) if part is not None)
