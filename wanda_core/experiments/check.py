"""A model that was pruned elsewhere: where its zeros are, which pattern they follow, what it is worth and how large."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wanda_core.errors import Refused, check_stop
from wanda_core.models.channel_order import ORDER, ChannelOrder, Shape, check_order
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.load import PACKED
from wanda_core.models.named_sources import gguf_file_of
from wanda_core.models.prunable_layers import Layer
from wanda_core.models.source import folder_of

LENGTHS = (4, 8, 16, 32)
"""M of the N:M patterns that are looked for."""

EXPLAINED = 0.8
"""Share of a layer's zeros that a pattern must ask for to be named: among very many zeros, patterns hold by chance."""

PIECE = 2**20
"""Bytes of a file that are compressed at a time."""

SAMPLE = 64
"""Pieces that are compressed, evenly spaced over the files: some two seconds, whatever the model's size."""

Progress = Callable[[str, float, str], None]
"""Called with what is being done, the share of it that is done, and where."""


@dataclass(frozen=True)
class LayerCheck:
    """What one layer holds."""

    name: str
    block: int
    kind: str
    weights: int
    zeros: int
    pattern: str | None
    """The N:M that holds, at most N of every M consecutive inputs of a row; the one with the fewest kept."""
    changed: float | None
    """Share of the weights that are not zero whose value is another than in the dense model; None without one."""

    @property
    def sparsity(self) -> float:
        return self.zeros / self.weights


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model's weights."""

    file: int
    """As it is on disk."""
    bitmask: int
    """Without the zeros of the layers: a bit for every weight of a layer, and the others at the file's mean bytes."""
    deflated: int
    """The very file compressed, as by a zip; beyond 64 MB by as much as evenly spaced pieces of it are."""


def check_layers(
    model: LanguageModel,
    dense: LanguageModel | None = None,
    *,
    on_progress: Progress = lambda *_: None,
    stop: threading.Event | None = None,
) -> list[LayerCheck]:
    """Look at every prunable layer.

    Args:
        dense: the model before it was pruned, to hold the values against; in the same dtype.

    Raises:
        Refused: the dense model has other layers.
        Stopped: `stop` was set.
    """
    before = {layer.name: layer for layer in dense.prunable.layers} if dense else {}
    order = None
    if dense is not None:
        _refuse_others(model, dense, before)
        order = _order_of(model)
    found = []
    for layer in model.prunable.layers:
        check_stop(stop)
        weight = layer.weight
        kept = weight != 0
        changed = None
        if layer.name in before:
            was = (
                before[layer.name].weight
                if order is None
                else order.put(layer.name, before[layer.name].weight)
            )
            differs = weight != was.to(weight.device)
            changed = float((kept & differs).sum() / kept.sum().clamp(min=1))
        found.append(
            LayerCheck(
                layer.name,
                layer.block,
                layer.kind,
                weight.numel(),
                weight.numel() - int(kept.sum()),
                pattern_of(kept),
                changed,
            )
        )
        on_progress("layers", len(found) / len(model.prunable.layers), layer.name)
    return found


def _order_of(model: LanguageModel) -> ChannelOrder | None:
    """The order of channels that an export of ours says it is in."""
    if gguf_file_of(model.source) is not None:
        return None
    file = folder_of(model.source, model.revision) / ORDER
    if not file.is_file():
        return None
    check_order(model.prunable)
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise Refused(f"{ORDER} is damaged: export the model again") from error
    return ChannelOrder.of_names(tensors, Shape.of(model.prunable), len(model.prunable.blocks))


def _refuse_others(model: LanguageModel, dense: LanguageModel, before: dict[str, Layer]) -> None:
    mine = {layer.name: layer.weight.shape for layer in model.prunable.layers}
    theirs = {name: layer.weight.shape for name, layer in before.items()}
    if mine != theirs:
        name = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))[0]
        raise Refused(
            f"{dense.source} is not what {model.source} was pruned from: {name} is another in it, or absent"
        )


def pattern_of(kept: Tensor) -> str | None:
    """The N:M pattern with the fewest kept that holds, if it asks for most of the zeros.

    Args:
        kept: bool (out_features, in_features).
    """
    sparsity = 1 - float(kept.float().mean())
    found: list[tuple[float, int, str]] = []
    for length in LENGTHS:
        if kept.shape[1] % length:
            continue
        most = int(kept.reshape(-1, length).sum(dim=1).max())
        if 0 < most < length and 1 - most / length >= EXPLAINED * sparsity:
            found.append((most / length, length, f"{most}:{length}"))
    return min(found)[2] if found else None


def check_sizes(
    model: LanguageModel,
    layers: list[LayerCheck],
    *,
    on_progress: Progress = lambda *_: None,
    stop: threading.Event | None = None,
) -> Sizes:
    """Bytes of the files with the weights, compressed as well.

    Raises:
        Stopped: `stop` was set.
    """
    files = weight_files(model)
    size = sum(file.stat().st_size for file in files)
    pieces = [(file, start) for file in files for start in range(0, file.stat().st_size, PIECE)]
    pieces = pieces[:: max(1, -(-len(pieces) // SAMPLE))]
    squeezer = zlib.compressobj()
    deflated = read = 0
    for done, (file, start) in enumerate(pieces):
        check_stop(stop)
        with file.open("rb") as stream:
            stream.seek(start)
            piece = stream.read(PIECE)
        deflated += len(squeezer.compress(piece))
        read += len(piece)
        on_progress("compressing", (done + 1) / len(pieces), file.name)
    deflated += len(squeezer.flush())
    zeros = sum(layer.zeros for layer in layers)
    bits = sum(-(-layer.weights // 8) for layer in layers)
    bitmask = size - int(zeros * size / model.parameters) + bits
    return Sizes(size, bitmask, round(deflated * size / max(1, read)))


def weight_files(model: LanguageModel) -> list[Path]:
    """The files that hold a model's weights."""
    file = gguf_file_of(model.source)
    if file is not None:
        return [file]
    ours = ("masks.safetensors", "calibration.safetensors", ORDER, PACKED)
    return [
        file
        for file in sorted(folder_of(model.source, model.revision).glob("*.safetensors"))
        if file.name not in ours
    ]
