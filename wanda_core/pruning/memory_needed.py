"""How much memory there is, and how much a walk will need."""

from __future__ import annotations

from collections import Counter

from wanda_core.errors import Refused
from wanda_core.machine import LIBRARIES, free_bytes, gigabytes
from wanda_core.models.prunable_layers import ExpertLayer, PrunableModel

LARGEST_ON_HEAP = 32 * 2**20
"""From this size on glibc maps every chunk for itself (DEFAULT_MMAP_THRESHOLD_MAX)."""


def walk_bytes(
    prunable: PrunableModel, samples: int, length: int, micro_batch: int, schedule: str, gram: bool = False
) -> int:
    """Peak memory of a walk above the loaded model, in bytes; an upper estimate.

    Between two decisions a parked micro-batch holds, for each of its tokens: under `layer` the residual stream, the
    layer's input and at most two results as wide as the widest layer; under `block` the residual stream alone. Half as
    much again is what measurements show, see tests/benchmarks/scaling.py.
    """
    element = prunable.layers[0].stored.element_size()
    hidden = prunable.layers[0].weight.shape[1]
    # Each token goes through several experts.
    routes = getattr(prunable.decoder.config, "num_experts_per_tok", 1)
    widest = max(
        max(layer.weight.shape) * (routes if isinstance(layer, ExpertLayer) else 1)
        for layer in prunable.layers
    )
    parked = {"layer": 3 * hidden + 3 * widest, "block": 3 * hidden, "dense": 0}[schedule]
    running = 6 * hidden + 4 * widest
    largest = max(layer.stored.numel() for layer in prunable.layers)
    largest_block = max(
        sum(layer.stored.numel() for layer in prunable.layers if layer.block == index)
        for index in range(len(prunable.blocks))
    )
    together: Counter[tuple[int, str]] = Counter()  # all experts' matrices of a kind are decided at once
    for layer in prunable.layers:
        together[layer.block, layer.kind] += layer.stored.numel()
    pruned = {"layer": max(together.values()), "block": largest_block, "dense": largest}[schedule] * element
    deciding = largest * (3 * 4 + 2)  # weight, scores and their selection in float32; masks
    if gram:
        deciding += gram_bytes(prunable, schedule)
    tokens = samples * length * parked * element + micro_batch * length * running * 4
    return LIBRARIES + tokens + pruned + deciding + _heap_bytes(prunable)


def _heap_bytes(prunable: PrunableModel) -> int:
    """What the C library's heap keeps of the matrices it lent out, layer after layer: small objects that stay, such as
    masks, lie between them. Handing it back would cost a tenth of the walk. Larger chunks do not come from the heap."""
    if prunable.layers[0].stored.device.type != "cpu":
        return 0
    matrices = [4 * layer.stored.numel() for layer in prunable.layers]
    return sum(3 * size // 2 for size in matrices if size < LARGEST_ON_HEAP)


def gram_bytes(prunable: PrunableModel, schedule: str) -> int:
    """Upper estimate of what Gram matrices add: those waiting for a decision, and four more to factorise one. A walk
    holds those of the layers it decides together (`layer`: an experts module's, `dense`: all)."""
    sizes: dict[object, int] = {}
    widest = 0
    for layer in prunable.layers:
        size = 4 * layer.weight.shape[1] ** 2
        together = {"layer": (layer.block, layer.kind), "block": layer.block, "dense": None}[schedule]
        sizes[together] = sizes.get(together, 0) + size
        widest = max(widest, size)
    return max(sizes.values()) + 4 * widest


def refuse_if_too_large(
    prunable: PrunableModel, samples: int, length: int, micro_batch: int, schedule: str, gram: bool = False
) -> None:
    """Raise `Refused`, with the figures and what would fit, where a walk needs more memory than there is."""
    device = prunable.layers[0].stored.device
    free = free_bytes(device)
    needed = walk_bytes(prunable, samples, length, micro_batch, schedule, gram)
    if needed <= free:
        return
    advice = "lower {length}"
    fitting = [s for s in (samples // 2**i for i in range(1, 12)) if s]
    for fewer in fitting:
        if walk_bytes(prunable, fewer, length, min(micro_batch, fewer), schedule, gram) <= free:
            advice = f"{{samples}} {fewer} would fit"
            break
    in_blocks = walk_bytes(prunable, samples, length, micro_batch, "block", gram)
    if schedule == "layer" and in_blocks <= free:
        advice = f"{{schedule}} block needs {gigabytes(in_blocks)}, or {advice}"
    raise Refused(
        f"pruning with {samples} windows of {length} tokens under {{schedule}} {schedule} needs {gigabytes(needed)} "
        f"beside the model, {gigabytes(free)} are free: {advice}"
    )
