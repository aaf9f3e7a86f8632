"""The tensors of a GGUF file: their types, and where a file has what a loaded model has elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, dequantize, quant_shape_to_byte_shape, quantize
from torch import Tensor
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from wanda_core.errors import Refused
from wanda_core.export.gguf_types import CONVERTER
from wanda_core.method.bits import BLOCK, TYPES
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import ExpertLayer, Layer
from wanda_core.pruning.result import Pruning


@dataclass(frozen=True)
class Entry:
    """One tensor of the file to be written."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    """Of `data`: bytes in its last dimension where the type has blocks."""
    dtype: Any
    data: Callable[[], np.ndarray]
    """Makes it: one tensor is in memory at a time."""

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def kind_of(layer: Layer, bits: int) -> GGMLQuantizationType:
    """The type that a pruned layer's weight is written in: F16 where its rows are no whole blocks, as of llama.cpp."""
    if layer.weight.shape[1] % BLOCK:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[TYPES[bits]]


def stay_f16(model: LanguageModel, bits: int) -> list[str]:
    """Sentences on the layers that have no whole blocks."""
    widths: dict[str, int] = {}
    for layer in model.prunable.layers:
        if kind_of(layer, bits).name != TYPES[bits]:
            widths[layer.kind] = layer.weight.shape[1]
    return [
        f"`{kind}` stays F16: its rows of {width:,} are no whole blocks of {BLOCK}."
        for kind, width in widths.items()
    ]


def in_type(name: str, weight: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    """A float32 matrix in a type, zeros as zeros.

    Raises:
        Refused: it holds a value that the type cannot.
    """
    with np.errstate(over="ignore"):  # said below
        made = quantize(weight, kind)
    if kind == GGMLQuantizationType.F16 and not np.isfinite(made).all():
        raise Refused(
            f"{name} holds NaN or a value above 65,504, the largest of F16: it cannot be written as GGUF"
        )
    return made


def rounded(layer: Layer, weight: Tensor, bits: int) -> Tensor:
    """A pruned weight (out_features, in_features) with the values that its file has: by gguf's own functions, on which
    `method.rounding` has no bearing."""
    kind = kind_of(layer, bits)
    values = dequantize(in_type(layer.name, weight.float().cpu().numpy(), kind), kind)
    return torch.from_numpy(values).to(weight)


class Places:
    """How transformers moves the entries of a file's tensors when it loads them: Llama's query and key rows, GPT-2's
    transposed matrices. It is asked where each entry's number goes, so that no family is named here, and undone."""

    def __init__(self, model: LanguageModel, architecture: str) -> None:
        self._processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(
            config=model.network.config.to_dict()
        )
        named = get_gguf_hf_weights_map(model.network, self._processor)
        self.names: dict[str, str] = {loaded: name for name, loaded in named.items()}
        """The file's name of each of the model's tensors."""

    def in_file(self, name: str, loaded: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """A tensor as the model has it, laid out as the file's tensor `name` of this shape.

        Raises:
            Refused: loading does more to it than move its entries and add a number.
        """
        if type(self._processor).process is TensorProcessor.process:
            return loaded
        size = loaded.size
        added = self._processed(name, np.zeros(shape, np.int64))
        places = self._processed(name, np.arange(size).reshape(shape)) - added
        if places.shape != loaded.shape or (np.bincount(places.ravel(), minlength=size) != 1).any():
            raise Refused(
                f"{name} of the GGUF file is more than moved when it is loaded: it cannot be replaced"
            )
        laid = np.empty(size, loaded.dtype)
        laid[places.ravel()] = (loaded - added.astype(loaded.dtype)).ravel()
        return laid.reshape(shape)

    def _processed(self, name: str, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(self._processor.process(weights=numbers, name=name).weights)


def refuse_experts(model: LanguageModel) -> None:
    if any(isinstance(layer, ExpertLayer) for layer in model.prunable.layers):
        raise Refused(
            "a mixture of experts is not written as GGUF here, which keeps their two projections in three tensors: "
            f"export a folder, and convert it with `{CONVERTER}` of llama.cpp"
        )


def entries_of_file(
    model: LanguageModel, pruning: Pruning, reader: GGUFReader, architecture: str
) -> Iterator[Entry]:
    """The tensors of the source's own file in their order: the pruned ones replaced, and the norms that a recovery
    trained; all others byte for byte as they are.

    Raises:
        Refused: the file has no tensor for a layer.
    """
    places = Places(model, architecture)
    layers = {f"{layer.name}.weight": layer for layer in model.prunable.layers if layer.name in pruning.masks}
    norms = {norm.name: make() for norm, make in pruning.recovered_norms(model.prunable)}
    there = {tensor.name for tensor in reader.tensors}
    for loaded in [*layers, *norms]:
        if places.names.get(loaded) not in there:
            raise Refused(f"the GGUF file has no tensor of its own for {loaded}: it cannot be replaced")
    changed = {places.names[loaded]: loaded for loaded in [*layers, *norms]}
    for tensor in reader.tensors:
        name, shape = tensor.name, tuple(int(length) for length in reversed(tensor.shape))
        if name not in changed:
            kept = tensor.data
            yield Entry(name, tensor.tensor_type, kept.shape, kept.dtype, partial(np.asarray, kept))
        elif changed[name] in norms:
            values = norms[changed[name]].float().cpu().numpy()
            data = partial(places.in_file, name, values, shape)
            yield Entry(name, GGMLQuantizationType.F32, shape, np.float32, data)
        else:
            layer = layers[changed[name]]
            yield entry(
                name,
                shape,
                kind_of(layer, pruning.recipe.bits),
                partial(_laid, places, name, pruning, layer, shape),
            )


def _laid(places: Places, name: str, pruning: Pruning, layer: Layer, shape: tuple[int, ...]) -> np.ndarray:
    return places.in_file(name, stored(pruning, layer), shape)


def entry(
    name: str, shape: tuple[int, ...], kind: GGMLQuantizationType, weight: Callable[[], np.ndarray]
) -> Entry:
    """A matrix that is written in this type.

    Args:
        weight: makes it, float32 of this shape.
    """
    whole = kind in (GGMLQuantizationType.F16, GGMLQuantizationType.F32)
    dtype: Any = {GGMLQuantizationType.F16: np.float16, GGMLQuantizationType.F32: np.float32}.get(
        kind, np.uint8
    )
    bytes_shape = shape if whole else tuple(quant_shape_to_byte_shape(shape, kind))
    return Entry(name, kind, bytes_shape, dtype, lambda: in_type(name, weight(), kind))


def stored(pruning: Pruning, layer: Layer) -> np.ndarray:
    """The pruned weight in the layout in which the module stores it, float32, not rounded yet: values that were rounded
    in half precision would be rounded twice."""
    weight = pruning.unrounded(layer).float().cpu()
    return (weight.t() if layer.transposed else weight).contiguous().numpy()


def architecture_of(reader: GGUFReader) -> str:
    field = reader.get_field("general.architecture")
    if field is None:
        raise Refused("the GGUF file names no architecture")
    return str(field.contents())
