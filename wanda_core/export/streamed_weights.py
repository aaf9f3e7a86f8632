"""The weights of a streamed model, pruned and written one tensor at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from wanda_core.errors import Refused, check_stop
from wanda_core.export.kinds import kind_named
from wanda_core.models.block_stream import BlockStream
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import ExpertLayer, Layer, Make
from wanda_core.pruning.result import Pruning

PATTERN = "model{suffix}.safetensors"


def refuse_unwritable(model: LanguageModel, kind: str) -> None:
    """Refuse a kind of export that takes all weights of a streamed model at once."""
    form = kind_named(kind)
    if model.prunable.stream is not None and form.write and not form.plain:
        raise Refused(
            f"{model.source} is read from its files block by block: it can be written as a model folder or as masks, "
            f"not as {kind}, which takes all weights together"
        )


class PrunedTensors(Mapping[str, Tensor]):
    """The state dict that the pruned model would have in memory, each tensor made when it is asked for."""

    def __init__(self, model: LanguageModel, pruning: Pruning, stream: BlockStream) -> None:
        self._state = model.network.state_dict(keep_vars=True)
        self._pruning = pruning
        self._dtype = stream.dtype
        self._layers: dict[Tensor, list[Layer]] = {}
        for layer in model.prunable.layers:
            if layer.name in pruning.masks:
                self._layers.setdefault(layer.parameter, []).append(layer)
        self._others: dict[Tensor, Make] = {
            part.parameter: make for part, make in pruning.other_weights(model.prunable)
        }

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._state[name]
        if tensor in self._others:
            return self._others[tensor]()
        dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
        made = tensor.data.to(dtype, copy=tensor.dim() > 2)  # the experts' is written to
        for layer in self._layers.get(tensor, ()):
            weight = self._pruning.weight(layer)
            if isinstance(layer, ExpertLayer):
                made[layer.expert] = weight
            else:
                made = weight.t().contiguous() if layer.transposed else weight
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)

    def untied(self) -> dict[str, Tensor]:
        """Name, shape and dtype of each tensor that a file holds, without memory; of tied ones the first."""
        found: dict[str, Tensor] = {}
        seen: set[Tensor] = set()
        for name, tensor in self._state.items():
            if tensor not in seen:
                seen.add(tensor)
                dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
                found[name] = torch.empty(tensor.shape, dtype=dtype, device="meta")
        return found


def write(
    model: LanguageModel,
    pruning: Pruning,
    stream: BlockStream,
    folder: Path,
    shard: str,
    stop: threading.Event | None,
) -> None:
    """Write the configuration and the pruned weights.

    Args:
        shard: most bytes of a file, as `save_pretrained` takes them.

    Raises:
        Refused: a file of the weights was changed meanwhile.
        Stopped: `stop` was set.
    """
    model.network.config.save_pretrained(folder)
    if model.network.can_generate():
        model.network.generation_config.save_pretrained(folder)
    tensors = PrunedTensors(model, pruning, stream)
    shapes = tensors.untied()
    split = split_torch_state_dict_into_shards(shapes, filename_pattern=PATTERN, max_shard_size=shard)
    for file, names in split.filename_to_tensors.items():
        _write_file(folder / file, {name: shapes[name] for name in sorted(names)}, tensors, stop)
    if split.is_sharded:
        index = {
            "metadata": {"total_parameters": model.parameters, **split.metadata},
            "weight_map": split.tensor_to_filename,
        }
        (folder / SAFE_WEIGHTS_INDEX_NAME).write_text(
            json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
    stream.files.check_unchanged()


DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL", torch.uint8: "U8"}
"""As safetensors calls those that a model on a CPU has: float32 and what its buffers may have."""


def _write_file(
    file: Path, shapes: dict[str, Tensor], tensors: PrunedTensors, stop: threading.Event | None
) -> None:
    """One safetensors file: eight bytes that hold the header's length, the header, the tensors. The library's own
    writer wants all of them in memory."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + shape.nbytes
        header[name] = {
            "dtype": DTYPES[shape.dtype],
            "shape": list(shape.shape),
            "data_offsets": [start, end],
        }
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    with file.open("wb") as stream:
        stream.write(len(content).to_bytes(8, "little"))
        stream.write(content)
        for name in shapes:
            check_stop(stop)
            stream.write(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data)
