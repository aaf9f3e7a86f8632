"""Models in a GGUF file, and a copy of their weights as they are once loaded.

Reading one takes a minute of Python: transformers parses the file's vocabulary three times, tensor by tensor it undoes
the rounding. So what came out is kept as a folder in the user's cache, to the bit, and the next load maps that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tqdm import tqdm
from transformers import AutoConfig, GgufConfig, modeling_gguf_pytorch_utils

from wanda_core.errors import Refused
from wanda_core.models.configuration import check_size
from wanda_core.models.gguf_header import gguf_numbers
from wanda_core.models.refusals import first_line, load_refusal
from wanda_core.models.target import Target
from wanda_core.stages import ENDING, clear, staged

MOST_COPIED = 2 * 2**30
"""Bytes of weights of which a copy is kept."""

COPIES = 3
"""So many copies are kept, those last used."""


def check_gguf(source: str, file: Path, target: Target) -> tuple[torch.dtype, int]:
    """Refuse what is no GGUF file or does not fit; the dtype its weights are to have, and how many there are."""
    if not file.is_file():
        raise Refused(f"{source}: no such file")
    # Without a dtype it is for CUDA, whose 2:4 kernels take two-byte floats alone.
    dtype = target.dtype if isinstance(target.dtype, torch.dtype) else torch.bfloat16
    try:
        numbers = gguf_numbers(file)
    except (ValueError, OSError) as error:
        raise Refused(f"{source} is damaged or not a GGUF file: {first_line(error)}") from error
    target.refuse_unfit(source, numbers * dtype.itemsize, mapped=False)
    return dtype, numbers


def gguf_config(source: str, file: Path, target: Target, numbers: int) -> Any:
    """The configuration that the file's settings come to, refused where it asks for more than the file holds."""
    try:
        config = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
    except Exception as error:  # settings may hold anything
        raise load_refusal(source, "the configuration of ", error) from error
    check_size(source, config, target, numbers)
    return config


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
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with staged(copy, Path.mkdir) as being_written:
            if size > MOST_COPIED or shutil.disk_usage(being_written).free < 2 * size:
                return False
            network.save_pretrained(being_written)
            tokenizer.save_pretrained(being_written)
            with suppress(OSError):  # another process was faster
                being_written.rename(copy)
        _drop_old(copy)
    except Exception as error:  # no room, or no right to write: it loads as slowly the next time
        if type(error) is not Exception and not isinstance(error, OSError | SafetensorError):
            raise  # tokenizers says with a plain one what the system says
        return False
    return copy.is_dir()


def _drop_old(newest: Path) -> None:
    clear(newest.parent, ".")
    finished = (folder for folder in newest.parent.iterdir() if folder.suffix != ENDING)
    copies = sorted(finished, key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in copies[COPIES:]:
        shutil.rmtree(folder, ignore_errors=True)
