"""An export read back and compared before it appears."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from wanda_core.errors import Refused, check_stop
from wanda_core.export.kinds import Kind
from wanda_core.export.masks_file import load_masks
from wanda_core.export.streamed_weights import PrunedTensors
from wanda_core.lazy import target
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning


def read_back(
    model: LanguageModel, pruning: Pruning, folder: Path, kind: Kind, stop: threading.Event | None
) -> None:
    """Read an export back as its users will, and compare every weight and mask to the bit."""
    differing = []
    if kind.read:
        found = target(kind.read)(folder, model.dtype, stop).state_dict()
        with _wanted(model, pruning, stop) as wanted:
            differing += [
                name for name in wanted.keys() | found.keys() if not same(wanted, found, name, stop)
            ]
    masks = load_masks(folder / "masks.safetensors")
    differing += [name for name, mask in pruning.masks.items() if (masks[name].bits != mask.bits).any()]
    check_stop(stop)
    if differing:
        raise Refused(f"verification failed: {sorted(differing)[0]} differs after re-reading: try again")


@contextmanager
def _wanted(
    model: LanguageModel, pruning: Pruning, stop: threading.Event | None
) -> Iterator[Mapping[str, Tensor]]:
    """The pruned model's state dict."""
    stream = model.prunable.stream
    if stream is not None:
        with model.prunable.alone(stop):
            yield PrunedTensors(model, pruning, stream)
        return
    with pruning.applied(model.prunable, stop):
        yield model.network.state_dict()


def same(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str, stop: threading.Event | None
) -> bool:
    """Whether a tensor is in both, of the same dtype and bits."""
    check_stop(stop)
    pair = [tensors.get(name) for tensors in (wanted, found)]
    both = [tensor for tensor in pair if tensor is not None]
    if len(both) < 2 or both[0].dtype != both[1].dtype:
        return False
    first, second = (tensor.cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in both)
    return torch.equal(first, second)
