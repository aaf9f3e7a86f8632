"""Where a model comes from: a Hub id, a local folder, a GGUF file or `pocket`. Loaded dense and checked."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError, safe_open
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    modeling_gguf_pytorch_utils,
)
from transformers import logging as transformers_logging

from wanda_core.errors import Refused
from wanda_core.machine import device_named, dtype_named
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import find_prunable_layers
from wanda_core.models.source import Target, causal_config, first_line, load_refusal, locate, refuse_unsafe

PACKED = "packed.safetensors"
"""The weights of an export without its zeros."""


def load(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    most_bytes: int | None = None,
) -> LanguageModel:
    """Load a model and its tokenizer.

    Args:
        source: `pocket`, a path to a folder or a `.gguf` file, or a Hub id.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        dtype: `auto` (float32 on a CPU, the checkpoint's on CUDA), `float32`, `bfloat16` or `float16`.
        revision: branch, tag or commit of a Hub model.
        most_bytes: refuse larger weights, and more files of a Hub model, before they are fetched; None: whatever the
            memory holds.

    Raises:
        Refused: not found, not reachable, not a causal language model, no safe weights, damaged, or too large.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.set_verbosity(hub_logging.CRITICAL)  # what goes wrong is said once, in what is raised
    place = device_named(device)
    kind = dtype_named(dtype, torch.float32 if place.type == "cpu" else "auto")
    target = Target(place, kind, most_bytes)
    if source.endswith(".gguf"):
        return _load_gguf(source, target)
    folder, commit = locate(source, revision, target)
    return _load_folder(source, folder, commit, target)


def _load_folder(source: str, folder: Path, commit: str | None, target: Target) -> LanguageModel:
    if not (folder / "config.json").is_file():
        raise Refused(f"{source} holds no config.json: it is not a model folder")
    files = sorted(file.name for file in folder.iterdir())
    weights = [folder / file for file in files if file.endswith(".safetensors") and not _ours(file)]
    refuse_unsafe(source, files, bool(weights))
    config = causal_config(source, folder)
    size = sum(_weight_bytes(file, target.dtype) for file in weights)
    target.refuse_unfit(source, size)
    # A Hub commit names its weights; for a local folder its place and the files' names, sizes and times of change do.
    fingerprint = hashlib.sha256(f"{commit or folder.resolve()} {target.dtype}".encode())
    for file in weights:
        stat = file.stat()
        fingerprint.update(f"{file.name} {stat.st_size} {0 if commit else stat.st_mtime_ns}".encode())
    arguments = {"config": config, "dtype": target.dtype, "use_safetensors": True}
    return _load(source, commit, fingerprint.hexdigest(), target.device, str(folder), {}, arguments)


def _load_gguf(source: str, target: Target) -> LanguageModel:
    file = Path(source)
    if not file.is_file():
        raise Refused(f"{source}: no such file")
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise Refused(f"{source} is damaged or not a GGUF file")
    dtype = torch.float32 if target.dtype == "auto" else target.dtype
    try:
        # At 4 bits a weight, the usual. The exact number takes seconds to read: only where this would not fit.
        target.refuse_unfit(source, file.stat().st_size * 2 * dtype.itemsize)
    except Refused:
        target.refuse_unfit(source, _gguf_numel(file) * dtype.itemsize)
    # Its bar, which knows no verbosity: on a terminal alone, as ours; elsewhere an error is one line.
    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=None)
    stat = file.stat()
    named_by = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns} {dtype}"
    fingerprint = hashlib.sha256(named_by.encode()).hexdigest()
    named = {"gguf_file": file.name}
    arguments = {"quantization_config": GgufConfig(dequantize=True), "dtype": dtype}
    return _load(source, None, fingerprint, target.device, str(file.parent), named, arguments)


def _load(
    source: str,
    commit: str | None,
    fingerprint: str,
    device: torch.device,
    folder: str,
    named: dict[str, str],
    arguments: dict[str, Any],
) -> LanguageModel:
    """Load tokenizer and weights with transformers and turn what can go wrong into one line each."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **named)
    except Exception as error:
        raise load_refusal(source, "the tokenizer of ", error) from error
    try:
        network, info = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, output_loading_info=True, **named, **arguments
        )
        network = network.to(device).eval().requires_grad_(False)
    except Exception as error:
        raise load_refusal(source, "", error) from error
    if info["missing_keys"]:
        raise Refused(
            f"{source} lacks weights, {sorted(info['missing_keys'])[0]} among them: damaged or not a causal model"
        )
    return LanguageModel(source, commit, fingerprint, network, tokenizer, find_prunable_layers(network))


def _weight_bytes(file: Path, dtype: torch.dtype | str) -> int:
    """Bytes of a safetensors file's weights once loaded in `dtype`."""
    try:
        with safe_open(file, framework="pt") as tensors:
            count = sum(_numel(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Refused(f"{file.name} is damaged: {first_line(error)}") from error
    return file.stat().st_size if dtype == "auto" else count * dtype.itemsize


def _gguf_numel(file: Path) -> int:
    """Number of weights in a GGUF file."""
    from gguf import GGUFReader

    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(file).tensors)
    except Exception as error:
        raise load_refusal(str(file), "", error) from error


def _numel(shape: list[int]) -> int:
    return int(torch.Size(shape).numel())


def _ours(file: str) -> bool:
    """What our own export puts beside the weights."""
    return file in ("masks.safetensors", "calibration.safetensors", PACKED)
