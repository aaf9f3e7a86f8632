"""A pruned model as a GGUF file, for llama.cpp.

Of a GGUF source all is kept as it is, settings, tokenizer and tensors that pruning does not touch, byte for byte; the
pruned tensors are written anew in the type of the recipe's bits. Of other sources see `gguf_family`; which types there
are, and why, `gguf_types`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Container, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gguf import GGUFReader, GGUFValueType, GGUFWriter, Keys

from wanda_core.errors import Refused, check_stop
from wanda_core.export.description import description_of
from wanda_core.export.destination import appearing_whole, check_destination
from wanda_core.export.gguf_check import read_back
from wanda_core.export.gguf_family import add_settings, entries_of_network, refuse_folder
from wanda_core.export.gguf_tensors import Entry, architecture_of, entries_of_file, refuse_experts, stay_f16
from wanda_core.export.gguf_types import CONVERTER, FILE_TYPES
from wanda_core.export.kinds import KINDS
from wanda_core.export.model_card import model_card
from wanda_core.export.streamed_weights import refuse_unwritable
from wanda_core.method.bits import STORED_BITS, TYPES
from wanda_core.method.recipe import Recipe
from wanda_core.models.gguf_file import gguf_fingerprint
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.named_sources import gguf_file_of
from wanda_core.pruning.result import Pruning

NAME = "model.gguf"
"""Of the file in an export that is a folder."""

OURS = "wanda_lab.pruning"
"""The key under which a file that stands alone says how it was made, as JSON."""


def check_writable(model: LanguageModel, recipe: Recipe) -> None:
    """Refuse what cannot be written as GGUF, before hours of work depend on it."""
    refuse_unwritable(model, "gguf")
    refuse_experts(model)
    file = gguf_file_of(model.source)
    if file is None:
        refuse_folder(model)
    elif recipe.order != "none":
        raise Refused(
            f"{{order}} would tear the embeddings of {file.name} apart, which are stored in blocks of neighbouring "
            f"channels: export a folder, and convert it with `{CONVERTER}` of llama.cpp"
        )
    elif not file.is_file() or gguf_fingerprint(file, model.dtype) != model.fingerprint:
        raise Refused(f"{file.name} is not the file any more that was loaded: load it again")


def save_gguf(
    model: LanguageModel,
    pruning: Pruning,
    calibration: dict[str, Any],
    out: Path,
    *,
    rows: Sequence[dict[str, Any]] = (),
    protocol: dict[str, Any] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write the pruned model as the new file `out`, and its card beside it, with the ending `.md`.

    What was written is read back before it appears under its name: every weight must be the pruned one in its type,
    to the bit, every zero exactly zero, and the logits those of the model with these weights.

    Args:
        calibration: how the windows were drawn; goes into the file's settings with the recipe.
        rows, protocol: as `save_pruned` takes them.

    Raises:
        Refused: it cannot be written as GGUF, the file exists, the disk is full, or what was written is not what was
            meant; nothing is left behind.
        Stopped: `stop` was set; nothing is left behind.
    """
    check_writable(model, pruning.recipe)
    card = out.with_suffix(".md")
    for file in (out, card):
        check_destination(file, gguf_bytes(model, pruning.recipe.bits), folder=False)
    with appearing_whole(out, files=(card, out)) as folder:
        about = json.dumps(description_of(model, pruning, calibration))
        write_file(model, pruning, folder / out.name, about, stop)
        notes = written_notes(model, pruning.recipe.bits)
        made = model_card(model, pruning, calibration, rows, protocol, KINDS["gguf"], notes, alone=out.name)
        made.save(folder / card.name)


def write(model: LanguageModel, pruning: Pruning, folder: Path, stop: threading.Event | None) -> None:
    """Write the file into the folder of an export, and read it back."""
    check_writable(model, pruning.recipe)
    write_file(model, pruning, folder / NAME, None, stop)


def write_file(
    model: LanguageModel,
    pruning: Pruning,
    out: Path,
    about: str | None,
    stop: threading.Event | None,
) -> None:
    """Write the file `out` and read it back.

    Args:
        about: goes into the settings under `OURS`.
    """
    file = gguf_file_of(model.source)
    reader = GGUFReader(file) if file else None
    architecture = architecture_of(reader) if reader else model.network.config.model_type
    with closing(GGUFWriter(out, architecture)) as writer:
        settings: dict[str, tuple[Any, GGUFValueType]] = {
            Keys.General.FILE_TYPE: (FILE_TYPES[pruning.recipe.bits], GGUFValueType.UINT32),
            Keys.General.QUANTIZATION_VERSION: (2, GGUFValueType.UINT32),
        }
        if about is not None:
            settings[OURS] = (about, GGUFValueType.STRING)
        if reader:
            _copy_settings(reader, writer, settings)
            entries = entries_of_file(model, pruning, reader, architecture)
        else:
            add_settings(model, writer)
            entries = entries_of_network(model, pruning)
        for key, (value, kind) in settings.items():
            writer.add_key_value(key, value, kind)
        _write_tensors(writer, list(entries), stop)
    read_back(model, pruning, out, stop)


def written_notes(model: LanguageModel, bits: int) -> list[str]:
    """Sentences on the types that the file has."""
    return [
        f"The pruned layers are {TYPES[bits]}; "
        + (
            "embeddings, output head, norms and biases are as in the source's file."
            if gguf_file_of(model.source)
            else "embeddings and output head are F16, norms and biases F32."
        ),
        *stay_f16(model, bits),
    ]


def gguf_bytes(model: LanguageModel, bits: int) -> int:
    """About as many as the file will have at most: the layers in their type, and all that the source has."""
    file = gguf_file_of(model.source)
    weights = sum(layer.weight.numel() for layer in model.prunable.layers)
    others = file.stat().st_size if file else 2 * (model.parameters - weights)
    return others + int(weights * STORED_BITS[bits] / 8)


def _copy_settings(reader: GGUFReader, writer: GGUFWriter, settings: Container[str]) -> None:
    """All settings of the source but those given, in whose place others are written."""
    for field in reader.fields.values():
        if (
            field.name.startswith("GGUF.")
            or field.name == Keys.General.ARCHITECTURE
            or field.name in settings
        ):
            continue
        if field.name == Keys.General.ALIGNMENT:
            writer.add_custom_alignment(int(field.contents()))
            continue
        kind = field.types[0]
        each = field.types[-1] if kind == GGUFValueType.ARRAY else None
        value = field.contents()
        if kind == GGUFValueType.ARRAY and not value:
            continue  # the writer takes no empty list
        writer.add_key_value(field.name, value, kind, sub_type=each)


def _write_tensors(writer: GGUFWriter, entries: list[Entry], stop: threading.Event | None) -> None:
    for entry in entries:
        writer.add_tensor_info(entry.name, entry.shape, entry.dtype, entry.nbytes, raw_dtype=entry.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for entry in entries:
        check_stop(stop)
        writer.write_tensor_data(entry.data())
