"""A pruned model as a folder to be taken away: its weights in either form or its masks alone, and how it came about."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from torch import Tensor
from transformers import PreTrainedModel

from wanda_core.errors import Refused, check_stop
from wanda_core.export.description import description_of
from wanda_core.export.destination import appearing_whole, check_destination
from wanda_core.export.kinds import kind_named
from wanda_core.export.masks_file import save_masks
from wanda_core.export.model_card import model_card
from wanda_core.export.streamed_weights import refuse_unwritable
from wanda_core.export.verify import read_back
from wanda_core.lazy import target
from wanda_core.models.channel_order import ORDER
from wanda_core.models.language_model import LanguageModel, model_bytes
from wanda_core.pruning.result import Pruning


def save_pruned(
    model: LanguageModel,
    pruning: Pruning,
    tokens: Tensor,
    calibration: dict[str, Any],
    out: Path,
    *,
    kind: str = "folder",
    rows: Sequence[dict[str, Any]] = (),
    protocol: dict[str, Any] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write the pruned model, its recipe, masks, calibration windows and model card into the new folder `out`.

    `masks.safetensors` holds for each layer a uint8 tensor (out_features, ceil(in_features / 8)): row by row, first
    input in the highest bit, 1 where the weight is kept; the file's metadata gives every layer's true width.
    `calibration.safetensors` holds the windows as int64 `tokens` (samples, length). Where the channels are in another
    order than the source's, weights and masks are in that order, and `order.safetensors` holds it. What was written is
    read back and compared to the bit before the folder appears under its name.

    Args:
        tokens: the calibration windows that made the pruning.
        calibration: how they were drawn; goes into `recipe.json`.
        kind: a name in `KINDS`: what is written of the weights.
        rows: perplexities for the model card, of `rows.COLUMNS`, and `protocol`, how they were measured.

    Raises:
        Refused: no such kind, the folder exists, the disk is full, or what was written is not what was meant; nothing
            is left behind.
        Stopped: `stop` was set; nothing is left behind.
    """
    form = kind_named(kind)
    refuse_unwritable(model, kind)
    if pruning.order is not None and not form.write:
        raise Refused(
            "masks alone would not fit the source's weights, whose channels are in another order: export them with "
            "the weights, or choose none for {order}"
        )
    check_destination(out, model_bytes(model) if form.write else 0)
    with appearing_whole(out) as folder:
        if form.write:
            target(form.write)(model, pruning, folder, stop)
            if form.read:
                _true_config(model.network, folder)
                model.tokenizer.save_pretrained(folder)
        check_stop(stop)
        save_masks(pruning.masks, folder / "masks.safetensors")
        if pruning.order is not None:
            orders = {name: order.numpy() for name, order in pruning.order.as_names().items()}
            save_file(orders, folder / ORDER)
        save_file({"tokens": np.ascontiguousarray(tokens.cpu().numpy())}, folder / "calibration.safetensors")
        description = json.dumps(description_of(model, pruning, calibration), indent=1)
        (folder / "recipe.json").write_text(description, encoding="utf-8")
        notes = target(form.notes)(model, pruning.recipe.bits) if form.notes else ()
        model_card(model, pruning, calibration, rows, protocol, form, notes).save(folder / "README.md")
        read_back(model, pruning, folder, form, stop)


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
