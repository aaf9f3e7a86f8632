"""Let a pruned model compute with packed weights: faster where reading the weights is what takes the time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wanda_core.errors import check_stop
from wanda_core.machine import is_out_of_memory
from wanda_core.models.prunable_layers import ExpertLayer, Layer, PrunableModel
from wanda_core.models.replaced_forward import ReplacedForward
from wanda_core.pruning.result import Pruning
from wanda_core.speed.kernels import cuda
from wanda_core.speed.kernels.formats import Masked, TwoFour, is_two_four

Product = Callable[[Tensor], Tensor]
"""(..., in_features) -> (..., out_features), without the bias."""


@dataclass
class Packed:
    """The packed weights of one pruning of one model, beside the model's dense ones."""

    pruning: Pruning
    products: dict[str, Product] = field(default_factory=dict)
    """By layer name, for the layers that a kernel takes."""
    kernels: dict[str, str] = field(default_factory=dict)
    """By layer name: the kernel's name, such as `2:4 numba`."""
    dense: dict[str, str] = field(default_factory=dict)
    """By layer name: why no kernel takes it; it computes with its masked dense weight."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """By layer name, for those in `dense`: the masked dense weight, (out_features, in_features)."""
    nbytes: int = 0
    """Memory that the packed weights take."""

    @contextmanager
    def applied(self, prunable: PrunableModel) -> Iterator[None]:
        """Let the model compute with the packed weights inside the `with`, with the dense ones after it."""
        left = (
            (layer, partial(self.weights.__getitem__, layer.name))
            for layer in prunable.layers
            if layer.name in self.dense
        )
        with prunable.computing_with(chain(left, self.pruning.other_weights(prunable))):
            # An instance's attribute goes before its class's method: the module itself stays as it is.
            replaced = [
                ReplacedForward(layer.module, _forward(self.products[layer.name], layer.module.bias))
                for layer in prunable.layers
                if layer.name in self.products
            ]
            try:
                yield
            finally:
                for forward in replaced:
                    forward.remove()


def pack(prunable: PrunableModel, pruning: Pruning, stop: threading.Event | None = None) -> Packed:
    """Pack every pruned layer that a kernel takes on this machine; the model is left as it is.

    Float32 and bfloat16 on a CPU go through numba (compiled once for a machine, some seconds): 2:4 masks everywhere,
    others where the processor has AVX-512. Float16 and bfloat16 on CUDA go through torch, 2:4 only.

    Raises:
        Stopped: `stop` was set while the weights were packed, seconds for a large model.
    """
    result = Packed(pruning)
    for layer in prunable.layers:
        check_stop(stop)
        if layer.name not in pruning.masks:
            continue
        mask = pruning.masks[layer.name].unpack()
        if reason := why_not(layer, mask):
            result.dense[layer.name], result.weights[layer.name] = reason, pruning.weight(layer)
            continue
        weight = pruning.weight(layer)
        try:
            product, kernel, size = _kernel(weight, mask)
        except RuntimeError as error:
            lost = isinstance(error, torch.AcceleratorError)
            if lost or not weight.is_cuda or is_out_of_memory(error):
                raise
            result.dense[layer.name], result.weights[layer.name] = str(error).splitlines()[0], weight
            continue
        result.products[layer.name], result.kernels[layer.name] = product, kernel
        result.nbytes += size
    return result


@contextmanager
def packed(
    prunable: PrunableModel, pruning: Pruning, stop: threading.Event | None = None
) -> Iterator[Packed]:
    """Let the model compute with packed weights inside the `with`: what it gives is that of the masked dense model up
    to rounding. No weight of the model is written. See `pack`."""
    result = pack(prunable, pruning, stop)
    with result.applied(prunable):
        yield result


def why_not(layer: Layer, mask: Tensor) -> str:
    """Why a layer under `mask` cannot compute packed on this machine; empty where it can."""
    if isinstance(layer, ExpertLayer):
        return "its experts share one parameter"
    dtype, (rows, columns) = layer.dtype, layer.shape
    if layer.stored.device.type == "cpu":
        return why_not_on_cpu(dtype, is_two_four(mask))
    if not is_two_four(mask):
        return "on CUDA the kernels take 2:4 masks only"
    device = layer.stored.device
    if cuda.first_backend((rows, columns), dtype, device):
        return ""
    reasons = (
        cuda.why_not_here(name, device) or cuda.why_not(name, (rows, columns), dtype)
        for name in cuda.BACKENDS
    )
    return "; ".join(dict.fromkeys(reasons))


def why_not_on_cpu(dtype: torch.dtype, two_four: bool) -> str:
    """Why a CPU kernel does not take weights of that dtype, under a 2:4 mask or any other; empty where it does."""
    from wanda_core.speed.kernels import cpu

    if dtype not in cpu.DTYPES:
        return "on a CPU the kernels take float32 and bfloat16"
    if not two_four and not cpu.expands(dtype):
        which = "AVX-512" if dtype == torch.float32 else "AVX-512 VBMI2"
        return f"without {which} the CPU kernels take 2:4 masks only"
    return ""


def _kernel(weight: Tensor, mask: Tensor) -> tuple[Product, str, int]:
    """The product with a pruned weight, the name of its kernel, and the bytes it takes."""
    if weight.is_cuda:
        rows, columns = weight.shape
        backend = cuda.first_backend((rows, columns), weight.dtype, weight.device)
        assert backend is not None  # see `why_not`
        sparse = cuda.compress(weight, backend)
        product = partial(functional.linear, weight=sparse)
        product(weight.new_zeros(1, weight.shape[1]))  # what the kernel refuses it refuses here
        return product, f"2:4 {backend}", cuda.compressed_bytes(sparse)
    from wanda_core.speed.kernels.cpu import Tiled, TiledMasked, TiledTwoFour

    if is_two_four(mask):
        tiled: Tiled = TiledTwoFour(TwoFour.pack(weight, mask))
    else:
        tiled = TiledMasked(Masked.pack(weight, mask))
    return tiled.linear, tiled.kernel, tiled.nbytes


def _forward(product: Product, bias: Any) -> Product:
    return product if bias is None else lambda inputs: product(inputs) + bias
