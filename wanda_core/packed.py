"""Let a pruned model compute with packed 2:4 weights: faster where reading the weights is what takes the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wanda_core.kernels import cuda
from wanda_core.kernels.formats import TwoFour, is_two_four
from wanda_core.layers import Anatomy, ExpertLayer, Layer
from wanda_core.pruning import Pruning


@dataclass
class Packed:
    """How the layers compute while a model is packed."""

    layers: dict[str, str] = field(default_factory=dict)
    """By layer name: the kernel that it computes with."""
    dense: dict[str, str] = field(default_factory=dict)
    """By layer name: why it computes with its masked dense weight."""
    nbytes: int = 0
    """Memory that the packed weights take, beside the dense ones of the shared model."""


@contextmanager
def packed(anatomy: Anatomy, pruning: Pruning) -> Iterator[Packed]:
    """Let the model compute with packed 2:4 weights inside the `with`, with the dense ones after it.

    Linear layers under a 2:4 mask compute through a kernel, every other pruned layer with its masked dense weight; what
    the model gives is the same up to rounding. No weight of the model is written. Float32 on a CPU goes through numba
    (compiled once for a machine, some seconds), float16 and bfloat16 on CUDA through torch.

    Raises:
        Refused: the changed values of a layer cannot be read back.
    """
    result = Packed()
    swapped = []
    try:
        for layer in anatomy.layers:
            if layer.name not in pruning.masks:
                continue
            weight, mask = pruning.weight(layer), pruning.masks[layer.name].unpack()
            reason = why_not(layer, mask)
            if reason:
                result.dense[layer.name] = reason
                layer.point_at(weight)
                continue
            product, kernel, size = _kernel(weight, mask)
            result.layers[layer.name] = kernel
            result.nbytes += size
            # An instance's attribute goes before its class's method: the module itself stays as it is.
            layer.module.forward = _forward(product, layer.module.bias)
            swapped.append(layer.module)
        yield result
    finally:
        for module in swapped:
            del module.forward
        anatomy.restore()


def why_not(layer: Layer, mask: Tensor) -> str:
    """Why a layer under `mask` cannot compute packed on this machine; empty where it can."""
    if isinstance(layer, ExpertLayer):
        return "its experts share one parameter"
    if not is_two_four(mask):
        return "its mask is not 2:4"
    dtype, shape = layer.stored.dtype, tuple(layer.weight.shape)
    if layer.stored.device.type == "cpu":
        return "" if dtype == torch.float32 else "on a CPU the kernel takes float32 only"
    if cuda.first_backend(shape, dtype):
        return ""
    reasons = (cuda.why_not_here(name) or cuda.why_not(name, shape, dtype) for name in cuda.BACKENDS)
    return "; ".join(dict.fromkeys(reasons))


def _kernel(weight: Tensor, mask: Tensor) -> tuple[Callable[[Tensor], Tensor], str, int]:
    """The product with a 2:4 weight, the name of its kernel, and the bytes it takes."""
    if weight.is_cuda:
        backend = cuda.first_backend(tuple(weight.shape), weight.dtype)
        sparse = cuda.compress(weight, backend)
        return (
            lambda inputs: torch.nn.functional.linear(inputs, sparse),
            backend,
            cuda.compressed_bytes(sparse),
        )
    from wanda_core.kernels.cpu import TiledTwoFour

    tiled = TiledTwoFour(TwoFour.pack(weight, mask))
    return tiled.linear, "numba", tiled.nbytes


def _forward(product: Callable[[Tensor], Tensor], bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    return product if bias is None else lambda inputs: product(inputs) + bias
