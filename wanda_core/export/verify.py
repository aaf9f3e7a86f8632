"""An export read back and compared before it appears."""

from __future__ import annotations

import threading
from pathlib import Path

import torch
from torch import Tensor

from wanda_core.errors import Refused, check_stop
from wanda_core.export.kinds import Kind
from wanda_core.export.masks_file import load_masks
from wanda_core.lazy import target
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning


def read_back(
    model: LanguageModel, pruning: Pruning, folder: Path, kind: Kind, stop: threading.Event | None
) -> None:
    """Read an export back as its users will, and compare every weight and mask to the bit."""
    differing = []
    if kind.read:
        found = target(kind.read)(folder, model.network.dtype, stop).state_dict()
        with pruning.applied(model.prunable, stop):
            wanted = model.network.state_dict()
            differing += [
                name for name in wanted.keys() | found.keys() if not same(wanted, found, name, stop)
            ]
    masks = load_masks(folder / "masks.safetensors")
    differing += [name for name, mask in pruning.masks.items() if (masks[name].bits != mask.bits).any()]
    check_stop(stop)
    if differing:
        raise Refused(f"verification failed: {sorted(differing)[0]} differs after re-reading: try again")


def same(
    wanted: dict[str, Tensor], found: dict[str, Tensor], name: str, stop: threading.Event | None
) -> bool:
    """Whether a tensor is in both, of the same dtype and bits."""
    check_stop(stop)
    if name not in wanted or name not in found or wanted[name].dtype != found[name].dtype:
        return False
    first, second = (
        tensor.cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (wanted[name], found[name])
    )
    return torch.equal(first, second)
