"""Let a pruned model compute with packed weights: faster where reading the weights is what takes the time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wanda_core.errors import Stopped
from wanda_core.kernels import cuda
from wanda_core.kernels.formats import Masked, TwoFour, is_two_four
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
def packed(anatomy: Anatomy, pruning: Pruning, stop: threading.Event | None = None) -> Iterator[Packed]:
    """Let the model compute with packed weights inside the `with`, with the dense ones after it.

    What it gives is that of the masked dense model up to rounding. No weight of the model is written. Float32 on a CPU
    goes through numba (compiled once for a machine, some seconds): 2:4 everywhere, other masks where the processor has
    AVX-512. Float16 and bfloat16 on CUDA go through torch, 2:4 only. Layers that no kernel takes compute with their
    masked dense weight.

    Raises:
        Refused: the changed values of a layer cannot be read back.
        Stopped: `stop` was set while the weights were packed, seconds for a large model.
    """
    result = Packed()
    swapped = []
    try:
        for layer in anatomy.layers:
            if stop is not None and stop.is_set():
                raise Stopped
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
    dtype, shape = layer.stored.dtype, tuple(layer.weight.shape)
    if layer.stored.device.type == "cpu":
        return why_not_on_cpu(dtype, is_two_four(mask))
    if not is_two_four(mask):
        return "on CUDA the kernels take 2:4 masks only"
    if cuda.first_backend(shape, dtype):
        return ""
    reasons = (cuda.why_not_here(name) or cuda.why_not(name, shape, dtype) for name in cuda.BACKENDS)
    return "; ".join(dict.fromkeys(reasons))


def why_not_on_cpu(dtype: torch.dtype, two_four: bool) -> str:
    """Why a CPU kernel does not take weights of that dtype, under a 2:4 mask or any other; empty where it does."""
    from wanda_core.kernels import lanes

    if dtype != torch.float32:
        return "on a CPU the kernels take float32 only"
    if not two_four and not lanes.fast():
        return "without AVX-512 the CPU kernels take 2:4 masks only"
    return ""


def _kernel(weight: Tensor, mask: Tensor) -> tuple[Callable[[Tensor], Tensor], str, int]:
    """The product with a pruned weight, the name of its kernel, and the bytes it takes."""
    if weight.is_cuda:
        backend = cuda.first_backend(tuple(weight.shape), weight.dtype)
        sparse = cuda.compress(weight, backend)
        return (
            lambda inputs: torch.nn.functional.linear(inputs, sparse),
            f"2:4 {backend}",
            cuda.compressed_bytes(sparse),
        )
    from wanda_core.kernels.cpu import TiledMasked, TiledTwoFour

    if is_two_four(mask):
        tiled = TiledTwoFour(TwoFour.pack(weight, mask))
        return tiled.linear, "2:4 numba", tiled.nbytes
    tiled = TiledMasked(Masked.pack(weight, mask))
    return tiled.linear, "bitmask numba", tiled.nbytes


def _forward(product: Callable[[Tensor], Tensor], bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    return product if bias is None else lambda inputs: product(inputs) + bias
