"""The machine: devices, dtypes and free memory."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
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
    if device.type == "cuda" and not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}, older drivers fail" if torch.version.cuda else "without CUDA"
        raise Refused(
            f"{{device}} {name}: this machine has no CUDA device that torch can use "
            f"(torch {torch.__version__} is built {built}): try cpu"
        )
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
        # What torch keeps of freed tensors counts as taken there, and goes to the next tensor.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
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
    """Hand freed memory back to the system, where torch, on CUDA, pyarrow (which reads data sets) and the C library
    (glibc) would keep it for later."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def gigabytes(count: float) -> str:
    """`1.5 GB`; small amounts in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "_status_alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. torch raises its own error only where its own allocator fails: on the CPU it is a plain
    RuntimeError, from the CUDA driver an AcceleratorError, from cuBLAS and cuDNN a status, from safetensors an error of
    its own."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, Exception) and any(words in said for words in OUT_OF_MEMORY)
    )


@contextmanager
def refused_if_out_of_memory(message: str) -> Iterator[None]:
    """Turn running out of memory inside the `with` into `Refused`, and give back what the failed work held: what its
    functions still hold would live as long as the error does."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        give_back()
        raise Refused(message) from error


def machine(device: torch.device, dtype: torch.dtype) -> dict[str, str | int]:
    """What computes, with how many threads, and versions."""
    described: dict[str, str | int] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        described |= {
            "cuda": torch.version.cuda or "none",
            "driver": _driver(),
            # "high" and "medium": products of float32 are rounded to TF32, which moves masks.
            "float32_products": torch.get_float32_matmul_precision(),
        }
    return described


def _driver() -> str:
    """Version of NVIDIA's driver, which torch does not tell."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return "unknown"
    found = re.search(r"Kernel Module(?: for \S+)?\s+([\d.]+)", text)
    return found[1] if found else "unknown"


def _processor() -> str:
    """The CPU's name; `platform` gives only its architecture on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
