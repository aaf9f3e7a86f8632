"""How much memory there is, and how much a walk will need."""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from pathlib import Path

import psutil
import torch

from wanda_core.errors import Refused
from wanda_core.layers import Anatomy, ExpertLayer

CGROUP = Path("/sys/fs/cgroup")
LIBRARIES = 64 * 2**20
"""Buffers and threads' stacks of the numerical libraries."""
LARGEST_ON_HEAP = 32 * 2**20
"""From this size on glibc maps every chunk for itself (DEFAULT_MMAP_THRESHOLD_MAX)."""


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


def walk_bytes(
    anatomy: Anatomy, samples: int, length: int, micro_batch: int, schedule: str, gram: bool = False
) -> int:
    """Peak memory of a walk above the loaded model, in bytes; an upper estimate.

    Between two decisions a parked micro-batch holds, for each of its tokens: under `layer` the residual stream, the
    layer's input and at most two results as wide as the widest layer; under `block` the residual stream alone. Half as
    much again is what measurements show, see tests/benchmarks/scaling.py.
    """
    element = anatomy.layers[0].stored.element_size()
    hidden = anatomy.layers[0].weight.shape[1]
    # Each token goes through several experts.
    routes = getattr(anatomy.decoder.config, "num_experts_per_tok", 1)
    widest = max(
        max(layer.weight.shape) * (routes if isinstance(layer, ExpertLayer) else 1)
        for layer in anatomy.layers
    )
    parked = {"layer": 3 * hidden + 3 * widest, "block": 3 * hidden, "dense": 0}[schedule]
    running = 6 * hidden + 4 * widest
    largest = max(layer.stored.numel() for layer in anatomy.layers)
    largest_block = max(
        sum(layer.stored.numel() for layer in anatomy.layers if layer.block == index)
        for index in range(len(anatomy.blocks))
    )
    together: Counter[tuple[int, str]] = Counter()  # all experts' matrices of a kind are decided at once
    for layer in anatomy.layers:
        together[layer.block, layer.kind] += layer.stored.numel()
    pruned = {"layer": max(together.values()), "block": largest_block, "dense": largest}[schedule] * element
    deciding = largest * (3 * 4 + 2)  # weight, scores and their selection in float32; masks
    if gram:
        deciding += gram_bytes(anatomy, schedule)
    tokens = samples * length * parked * element + micro_batch * length * running * 4
    return LIBRARIES + tokens + pruned + deciding + _heap_bytes(anatomy)


def _heap_bytes(anatomy: Anatomy) -> int:
    """What the C library's heap keeps of the matrices it lent out, layer after layer: small objects that stay, such as
    masks, lie between them. Handing it back would cost a tenth of the walk. Larger chunks do not come from the heap."""
    if anatomy.layers[0].stored.device.type != "cpu":
        return 0
    matrices = [4 * layer.stored.numel() for layer in anatomy.layers]
    return sum(3 * size // 2 for size in matrices if size < LARGEST_ON_HEAP)


def gram_bytes(anatomy: Anatomy, schedule: str) -> int:
    """Upper estimate of what Gram matrices add: those waiting for a decision, and four more to factorise one. A walk
    holds those of the layers it decides together (`layer`: an experts module's, `dense`: all)."""
    sizes: dict[object, int] = {}
    widest = 0
    for layer in anatomy.layers:
        size = 4 * layer.weight.shape[1] ** 2
        together = {"layer": (layer.block, layer.kind), "block": layer.block, "dense": None}[schedule]
        sizes[together] = sizes.get(together, 0) + size
        widest = max(widest, size)
    return max(sizes.values()) + 4 * widest


def refuse_if_too_large(
    anatomy: Anatomy, samples: int, length: int, micro_batch: int, schedule: str, gram: bool = False
) -> None:
    """Raise `Refused`, with the figures and what would fit, where a walk needs more memory than there is."""
    device = anatomy.layers[0].stored.device
    free = free_bytes(device)
    needed = walk_bytes(anatomy, samples, length, micro_batch, schedule, gram)
    if needed <= free:
        return
    advice = "take a smaller --length"
    fitting = [s for s in (samples // 2**i for i in range(1, 12)) if s]
    for fewer in fitting:
        if walk_bytes(anatomy, fewer, length, min(micro_batch, fewer), schedule, gram) <= free:
            advice = f"--samples {fewer} would fit"
            break
    in_blocks = walk_bytes(anatomy, samples, length, micro_batch, "block", gram)
    if schedule == "layer" and in_blocks <= free:
        advice = f"--schedule block needs {gigabytes(in_blocks)}, or {advice}"
    raise Refused(
        f"pruning with {samples} windows of {length} tokens under --schedule {schedule} needs {gigabytes(needed)} "
        f"beside the model, {gigabytes(free)} are free: {advice}"
    )


def gigabytes(count: float) -> str:
    """`1.5 GB`; small amounts in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch reports a failed allocation on the CPU as a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
