"""The normalisations inside a model's blocks: a few values each, which recovery trains beside the kept weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import Tensor, nn

from wanda_core.models.block_stream import BlockStream, dense_now


@dataclass(frozen=True, eq=False)
class Norm:
    """One parameter of a normalisation, its scale or its shift. The dense values are read by everybody and written by
    nobody."""

    name: str
    """Full name in the model, such as `model.layers.0.input_layernorm.weight`."""
    block: int
    parameter: nn.Parameter
    """What the module computes with."""
    stored: Tensor
    """The dense values, (features,), where they lie."""
    stream: BlockStream | None = None
    """Where the model's weights lie in files: brings them into memory."""

    @property
    def values(self) -> Tensor:
        """The dense values, (features,), in the dtype that the model computes in."""
        dense = dense_now(self.stream, self.parameter, self.stored)
        return dense if self.stream is None else dense.to(self.stream.dtype)

    def point_at(self, values: Tensor) -> None:
        """Let the module compute with `values` (features,) until `restore`."""
        self.parameter.data = values

    def restore(self) -> None:
        """Let the module compute with its dense values again."""
        self.parameter.data = dense_now(self.stream, self.parameter, self.stored)


def find_norms(network: nn.Module, blocks: tuple[nn.Module, ...]) -> tuple[Norm, ...]:
    """The parameters of the blocks' normalisations, by the modules' class names, as transformers has no common class
    for them; those that two modules share are left out, as another block would see the change."""
    names = {module: name for name, module in network.named_modules()}
    owners = Counter(
        parameter.data_ptr() for module in network.modules() for parameter in module.parameters(recurse=False)
    )
    return tuple(
        Norm(f"{names[module]}.{name}", index, parameter, parameter.data)
        for index, block in enumerate(blocks)
        for module in block.modules()
        if "norm" in type(module).__name__.lower()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 1 and parameter.is_floating_point() and owners[parameter.data_ptr()] == 1
    )
