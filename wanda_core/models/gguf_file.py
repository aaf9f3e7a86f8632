"""Models in a GGUF file, and a copy of their weights as they are once loaded.

Reading one takes a minute of Python: transformers parses the file's vocabulary three times, tensor by tensor it undoes
the rounding. So what came out is kept as a folder in the user's cache, to the bit, and the next load maps that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import GgufConfig, modeling_gguf_pytorch_utils

from wanda_core.errors import Refused
from wanda_core.models.refusals import load_refusal
from wanda_core.models.target import Target

MOST_COPIED = 2 * 2**30
"""Bytes of weights of which a copy is kept."""

COPIES = 3
"""So many copies are kept, those last used."""


def check_gguf(source: str, file: Path, target: Target) -> torch.dtype:
    """Refuse what is no GGUF file or does not fit; the dtype its weights are to have."""
    if not file.is_file():
        raise Refused(f"{source}: no such file")
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise Refused(f"{source} is damaged or not a GGUF file")
    # Without a dtype it is for CUDA, whose 2:4 kernels take two-byte floats alone.
    dtype = target.dtype if isinstance(target.dtype, torch.dtype) else torch.bfloat16
    try:
        # At 4 bits a weight, the usual. The exact number takes seconds to read: only where this would not fit.
        target.refuse_unfit(source, file.stat().st_size * 2 * dtype.itemsize, mapped=False)
    except Refused:
        target.refuse_unfit(source, _numel(file) * dtype.itemsize, mapped=False)
    return dtype


def gguf_fingerprint(file: Path, dtype: torch.dtype) -> str:
    stat = file.stat()
    return hashlib.sha256(f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns} {dtype}".encode()).hexdigest()


def gguf_arguments(dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is given beside the file's name."""
    # Its bar, which knows no verbosity: on a terminal alone, as ours; elsewhere an error is one line.
    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=None)
    return {"quantization_config": GgufConfig(dequantize=True), "dtype": dtype}


def copies_folder() -> Path:
    """Where copies are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wanda-lab" / "gguf"


def copy_of(fingerprint: str) -> Path:
    """The place of a file's copy, whether there is one or not."""
    return copies_folder() / fingerprint[:32]


def keep_copy(network: Any, tokenizer: Any, copy: Path) -> bool:
    """Keep a loaded model for the next time, if it is not large and the disk takes it.

    Returns:
        Whether it is there now.
    """
    size = sum(parameter.nbytes for parameter in network.parameters())
    being_written = copy.with_name(f"{copy.name}.{os.getpid()}.{time.time_ns()}.partial")
    try:
        being_written.mkdir(parents=True)
        if size > MOST_COPIED or shutil.disk_usage(being_written).free < 2 * size:
            return False
        network.save_pretrained(being_written)
        tokenizer.save_pretrained(being_written)
        with suppress(OSError):  # another process was faster
            being_written.rename(copy)
        _drop_old(copy)
    except (OSError, SafetensorError):  # no room, or no right to write: it loads as slowly the next time
        return False
    finally:
        shutil.rmtree(being_written, ignore_errors=True)
    return copy.is_dir()


def _drop_old(newest: Path) -> None:
    copies = sorted(newest.parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in copies[COPIES:]:
        shutil.rmtree(folder, ignore_errors=True)


def _numel(file: Path) -> int:
    """Number of weights in a GGUF file."""
    from gguf import GGUFReader

    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(file).tensors)
    except Exception as error:
        raise load_refusal(str(file), "", error) from error
