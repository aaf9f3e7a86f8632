"""The machine: devices, dtypes and free memory."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from pathlib import Path
from typing import TypeVar

import psutil
import torch
import transformers

from wanda_core.errors import Refused

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


Default = TypeVar("Default")


def dtype_named(name: str, default: Default) -> torch.dtype | Default:
    """The dtype of that name, or the default for `auto`; `Refused` where there is none."""
    if name != "auto" and name not in DTYPES:
        raise Refused(f"{{dtype}} must be auto, {', '.join(DTYPES)}")
    return DTYPES.get(name, default)


def device_named(name: str) -> torch.device:
    """The device of that name; `auto`: CUDA where there is one. `Refused` where this machine has no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise Refused("{device} must be auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Refused(
            f"{{device}} {name}: this machine has {torch.cuda.device_count()} CUDA devices; try cpu"
        )
    return device


CGROUP = Path("/sys/fs/cgroup")


LIBRARIES = 64 * 2**20
"""Buffers and threads' stacks of the numerical libraries."""


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken on `device`, within a container's limit where there is one."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        reclaimable = _inactive_file(CGROUP / "memory.stat")
    except (OSError, ValueError):  # no such limit ("max"), or not Linux
        return free
    return min(free, limit - used + reclaimable)


def _inactive_file(path: Path) -> int:
    """Page cache that the kernel gives back when asked; it counts as used in `memory.current`."""
    return next(
        int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("inactive_file ")
    )


def give_back() -> None:
    """Hand freed memory back to the system, where the C library (glibc) would keep it for later."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def gigabytes(count: float) -> str:
    """`1.5 GB`; small amounts in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch reports a failed allocation on the CPU as a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def machine(device: torch.device, dtype: torch.dtype) -> dict[str, str | int]:
    """What computes, with how many threads, and versions."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The CPU's name; `platform` gives only its architecture on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
