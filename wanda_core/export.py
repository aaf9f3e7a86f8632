"""A pruned model as a folder to be taken away: its weights in either form or its masks alone, and how it came about."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from wanda_core.card import model_card, shown_source
from wanda_core.errors import Refused, check_stop
from wanda_core.memory import gigabytes
from wanda_core.models import PACKED, LanguageModel
from wanda_core.packed_file import load_packed, save_packed
from wanda_core.pruning import PackedMask, Pruning

SHARD = "5GB"
Kind = Literal["folder", "packed", "masks"]
"""The weights for plain transformers, zeros and all; the weights without their zeros, for `load_packed`; no weights."""


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
    model: LanguageModel,
    pruning: Pruning,
    tokens: Tensor,
    calibration: dict[str, Any],
    out: Path,
    *,
    kind: Kind = "folder",
    rows: Sequence[dict[str, Any]] = (),
    protocol: dict[str, Any] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write the pruned model, its recipe, masks, calibration windows and model card into the new folder `out`.

    `masks.safetensors` holds for each layer a uint8 tensor (out_features, ceil(in_features / 8)): row by row, first
    input in the highest bit, 1 where the weight is kept; the file's metadata gives every layer's true width.
    `calibration.safetensors` holds the windows as int64 `tokens` (samples, length). What was written is read back and
    compared to the bit before the folder appears under its name.

    Args:
        tokens: the calibration windows that made the pruning.
        calibration: how they were drawn; goes into `recipe.json`.
        kind: what of the weights is written.
        rows: perplexities for the model card, of `tables.COLUMNS`, and `protocol`, how they were measured.

    Raises:
        Refused: the folder exists, the disk is full, or what was written is not what was meant; nothing is left behind.
        Stopped: `stop` was set; nothing is left behind.
    """
    check_destination(out, 0 if kind == "masks" else model_bytes(model))
    with _appearing_whole(out) as folder:
        if kind == "packed":
            model.network.config.save_pretrained(folder)
            if model.network.can_generate():
                model.network.generation_config.save_pretrained(folder)
            save_packed(model, pruning, folder / PACKED, stop)
        elif kind == "folder":
            with pruning.applied(model.anatomy, stop):
                model.network.save_pretrained(folder, max_shard_size=SHARD)
        if kind != "masks":
            _true_config(model.network, folder)
            model.tokenizer.save_pretrained(folder)
        check_stop(stop)
        save_masks(pruning.masks, folder / "masks.safetensors")
        save_file({"tokens": np.ascontiguousarray(tokens.cpu().numpy())}, folder / "calibration.safetensors")
        description = {
            "source": shown_source(model),
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
        model_card(model, pruning, calibration, rows, protocol, kind).save(folder / "README.md")
        _check(model, pruning, folder, kind, stop)


def _true_config(network: PreTrainedModel, folder: Path) -> None:
    """Let the configuration name the class that reads the weights, which a GGUF file does not.

    What a source says of its compression is no longer true, and vLLM refuses a config with a sparsity entry.
    """
    config = folder / "config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    for key in ("sparsity_config", "compression_config", "quantization_config"):
        content.pop(key, None)
    content["architectures"] = [type(network).__name__]
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _check(
    model: LanguageModel, pruning: Pruning, folder: Path, kind: Kind, stop: threading.Event | None
) -> None:
    """Read an export back as its users will, and compare every weight and mask to the bit."""
    differing = []
    if kind != "masks":
        # On a CPU transformers maps the file: its bytes are read when they are compared.
        written = (
            load_packed(folder, stop=stop)
            if kind == "packed"
            else AutoModelForCausalLM.from_pretrained(folder, dtype=model.network.dtype)
        )
        found = written.state_dict()
        with pruning.applied(model.anatomy, stop):
            wanted = model.network.state_dict()
            differing += [
                name for name in wanted.keys() | found.keys() if not _same(wanted, found, name, stop)
            ]
    masks = load_masks(folder / "masks.safetensors")
    differing += [name for name, mask in pruning.masks.items() if (masks[name].bits != mask.bits).any()]
    check_stop(stop)
    if differing:
        raise Refused(f"the export did not come back as it was written ({sorted(differing)[0]}): try again")


def _same(
    wanted: dict[str, Tensor], found: dict[str, Tensor], name: str, stop: threading.Event | None
) -> bool:
    check_stop(stop)
    if name not in wanted or name not in found or wanted[name].dtype != found[name].dtype:
        return False
    first, second = (
        tensor.cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (wanted[name], found[name])
    )
    return torch.equal(first, second)


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
