"""Masks as a file: a bit for every weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from wanda_core.method.packed_mask import PackedMask


def save_masks(masks: dict[str, PackedMask], file: Path) -> None:
    """Write masks to a safetensors file; `load_masks` reads it."""
    widths = {name: str(mask.columns) for name, mask in masks.items()}
    save_file({name: mask.bits for name, mask in masks.items()}, file, metadata=widths)


def load_masks(file: Path) -> dict[str, PackedMask]:
    """Masks by layer name, as `save_masks` wrote them."""
    with safe_open(file, framework="numpy") as tensors:
        widths = tensors.metadata()
        return {
            name: PackedMask(np.asarray(tensors.get_tensor(name)), int(width))
            for name, width in widths.items()
        }
