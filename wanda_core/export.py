"""A pruned model as a folder that `AutoModelForCausalLM.from_pretrained` loads, with what is needed to check it."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.memory import gigabytes
from wanda_core.models import LanguageModel
from wanda_core.pruning import PackedMask, Pruning


def check_destination(out: Path, needed: int) -> None:
    """Refuse a folder that cannot be written, before hours of work depend on it.

    Args:
        needed: bytes that will be written.
    """
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise Refused(f"--out {out} cannot be used: {error.strerror}") from error
    if taken:
        raise Refused(f"{out} exists already: give --out a new folder")
    parent = out.absolute().parent
    if not parent.is_dir():
        raise Refused(f"{parent} is no folder: create it first")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise Refused(f"{parent} cannot be written to: {error.strerror}") from error
    if shutil.disk_usage(parent).free < needed:
        raise Refused(
            f"{out} needs {gigabytes(needed)}, the disk has {gigabytes(shutil.disk_usage(parent).free)} left"
        )


def model_bytes(model: LanguageModel) -> int:
    """Bytes of the model's weights in the dtype they are loaded in; tied weights count once."""
    return sum(p.numel() * p.element_size() for p in model.network.parameters())


def export(
    model: LanguageModel, pruning: Pruning, tokens: Tensor, calibration: dict[str, Any], out: Path
) -> None:
    """Write the pruned model, its recipe, masks and calibration windows into the new folder `out`.

    `masks.safetensors` holds for each layer a uint8 tensor (out_features, ceil(in_features / 8)): row by row, first
    input in the highest bit, 1 where the weight is kept; the file's metadata gives every layer's true width.
    `calibration.safetensors` holds the windows as int64 `tokens` (samples, length).

    Args:
        tokens: the calibration windows that made the pruning.
        calibration: how they were drawn; goes into `recipe.json`.

    Raises:
        Refused: the folder exists, or the disk is full; nothing is left behind.
    """
    check_destination(out, model_bytes(model))
    with _appearing_whole(out) as folder:
        with pruning.applied(model.anatomy):
            model.network.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        save_masks(pruning.masks, folder / "masks.safetensors")
        save_file({"tokens": np.ascontiguousarray(tokens.cpu().numpy())}, folder / "calibration.safetensors")
        description = {
            "source": model.source,
            "revision": model.revision,
            "recipe": pruning.recipe.as_dict(),
            "calibration": calibration,
            "conditions": pruning.conditions,
            "sparsity_reached": pruning.sparsity,
            "seconds": pruning.seconds,
            "layers": [asdict(report) for report in pruning.reports],
            "never_called": pruning.uncalled,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (folder / "recipe.json").write_text(json.dumps(description, indent=1), encoding="utf-8")


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


@contextmanager
def _appearing_whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name once everything is in it, and vanishes where something fails."""
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.absolute().parent))
    try:
        yield stage
        stage.chmod(0o755)
        stage.replace(out)
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise Refused(f"the disk is full: {out} was not written") from error
        raise Refused(f"{out} was not written: {error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
