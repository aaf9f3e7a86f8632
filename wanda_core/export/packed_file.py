"""A pruned model in one file without its zeros: 2:4 layers and others as values and bits, the rest as it is.

The file is a safetensors file. A pruned layer `NAME` is there as `NAME.values` and either `NAME.places` (2:4) or
`NAME.mask` (any mask); its line in the metadata gives format, width and whether the model stores it transposed. See
`kernels.formats` for what the tensors hold.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wanda_core.errors import Refused, check_stop
from wanda_core.method.packed_mask import PackedMask
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.load import PACKED
from wanda_core.models.prunable_layers import ExpertLayer
from wanda_core.pruning.result import Pruning
from wanda_core.speed.kernels.formats import Masked, TwoFour, is_two_four


def write(model: LanguageModel, pruning: Pruning, folder: Path, stop: threading.Event | None) -> None:
    """Write the configuration and the packed weights; see `save_packed`."""
    model.network.config.save_pretrained(folder)
    if model.network.can_generate():
        model.network.generation_config.save_pretrained(folder)
    save_packed(model, pruning, folder / PACKED, stop)


def save_packed(
    model: LanguageModel, pruning: Pruning, file: Path, stop: threading.Event | None = None
) -> None:
    """Write the pruned model; `load_packed` reads it back to the bit. The experts of a mixture are written with their
    zeros, as their matrices share one parameter.

    Raises:
        Stopped: `stop` was set.
    """
    tensors, described = {}, {}
    with pruning.applied(model.prunable, stop):
        seen = set()
        for name, tensor in model.network.state_dict().items():
            if tensor.data_ptr() not in seen:  # a tied weight is written once
                seen.add(tensor.data_ptr())
                tensors[name] = tensor.cpu().contiguous()
    for layer in model.prunable.layers:
        check_stop(stop)
        if layer.name not in pruning.masks or isinstance(layer, ExpertLayer):
            continue
        del tensors[f"{layer.name}.weight"]
        mask = pruning.masks[layer.name].unpack()
        kind = TwoFour if is_two_four(mask) else Masked
        packed = kind.pack(pruning.weight(layer), mask)
        tensors[f"{layer.name}.values"] = packed.values
        if isinstance(packed, TwoFour):
            tensors[f"{layer.name}.places"] = packed.places
        else:
            tensors[f"{layer.name}.mask"] = torch.from_numpy(packed.mask.bits)
        described[layer.name] = json.dumps(
            {
                "format": "2:4" if kind is TwoFour else "bitmask",
                "columns": packed.shape[1],
                "transposed": layer.transposed,
            }
        )
    save_file(tensors, file, metadata=described)


def load_layers(file: Path) -> dict[str, TwoFour | Masked]:
    """The packed layers of a file, by name.

    Raises:
        Refused: the file is damaged or of another kind.
    """
    layers: dict[str, TwoFour | Masked] = {}
    try:
        with safe_open(file, framework="pt") as tensors:
            for name, line in (tensors.metadata() or {}).items():
                layers[name] = _layer(tensors, name, json.loads(line))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{file.name} is damaged or not a packed model") from error
    return layers


def _layer(tensors: Any, name: str, described: dict[str, Any]) -> TwoFour | Masked:
    values = tensors.get_tensor(f"{name}.values")
    if described["format"] == "2:4":
        return TwoFour(values, tensors.get_tensor(f"{name}.places"))
    return Masked(values, PackedMask(tensors.get_tensor(f"{name}.mask").numpy(), described["columns"]))


def load_packed(
    folder: str | Path, dtype: torch.dtype | None = None, stop: threading.Event | None = None
) -> Any:
    """The model of an export without its zeros, as transformers has it, on the CPU.

    Args:
        dtype: None: as written.

    Raises:
        Refused: the file is damaged or of another kind.
        Stopped: `stop` was set while the weights were unpacked, seconds for a large model.
    """
    import transformers

    file = Path(folder) / PACKED
    layers = load_layers(file)
    weights: dict[str, Tensor] = {}
    with safe_open(file, framework="pt") as tensors:
        transposed = {name: json.loads(line)["transposed"] for name, line in tensors.metadata().items()}
        parts = {f"{name}.{part}" for name in layers for part in ("values", "places", "mask")}
        weights |= {name: tensors.get_tensor(name) for name in tensors.keys() if name not in parts}  # noqa: SIM118
    for name, layer in layers.items():
        check_stop(stop)
        weight = layer.unpack()
        weights[f"{name}.weight"] = weight.t().contiguous() if transposed[name] else weight
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    kind = getattr(transformers, config.architectures[0])
    dtype = dtype or next(iter(weights.values())).dtype
    return kind.from_pretrained(None, config=config, state_dict=weights, dtype=dtype)


def file_sizes(model: LanguageModel, pruning: Pruning) -> dict[str, int]:
    """Bytes that the weights take in each format, from shapes and masks alone: `dense` (zeros and all), `packed` (as
    `save_packed` writes them), `bitmask` (kept values and a bit for every weight) and `masks` (the bits alone)."""
    dense = sum(p.nbytes for p in model.network.parameters())
    packed = bitmask = dense
    masks = 0
    for layer in model.prunable.layers:
        if layer.name not in pruning.masks:
            continue
        bits = pruning.masks[layer.name].bits
        masks += bits.nbytes
        if isinstance(layer, ExpertLayer):
            continue
        rows, columns = layer.weight.shape
        element = layer.stored.element_size()
        kept = int(np.bitwise_count(bits).sum()) * element
        bitmask += kept + bits.nbytes - layer.stored.nbytes
        two_four = is_two_four(pruning.masks[layer.name].unpack())
        packed += kept + (rows * -(-columns // 8) if two_four else bits.nbytes) - layer.stored.nbytes
    return {"dense": dense, "packed": packed, "bitmask": bitmask, "masks": masks}
