"""How much memory there is, and how much a walk will need."""

from __future__ import annotations

from collections import Counter

from wanda_core.errors import Refused
from wanda_core.machine import LIBRARIES, free_bytes, gigabytes
from wanda_core.method.input_statistics import SAMPLE_ROWS
from wanda_core.models.prunable_layers import ExpertLayer, PrunableModel
from wanda_core.pruning.updated_weights import MEMORY_CAP

LARGEST_ON_HEAP = 32 * 2**20
"""From this size on glibc maps every chunk for itself (DEFAULT_MMAP_THRESHOLD_MAX)."""


ROWS = 2**15
"""Rows of all layers that read the residual stream together that its order is searched on."""


CORRECTING = 9
"""Float32 matrices of a layer's size that an update holds beside those of any decision: `admm` has 12 at its peak in
all, `wanda+admm` 8 (measured on 8192 x 1024)."""


def walk_bytes(
    prunable: PrunableModel,
    samples: int,
    length: int,
    micro_batch: int,
    schedule: str,
    gram: bool = False,
    recovery: bool = False,
) -> int:
    """Peak memory of a walk above the loaded model, in bytes; an upper estimate. Of a streamed model, none of which is
    loaded, its largest part is in it.

    Between two decisions a parked micro-batch holds, for each of its tokens: under `layer` the embeddings, the block's
    input, the residual stream, the layer's input, and a result as wide as the widest layer, or query, key, value and
    what they give; under `block` embeddings and input alone. On a CPU half as much again is what measurements show, see
    tests/benchmarks/scaling.py; on CUDA it is what torch's allocator counts.
    """
    element = prunable.layers[0].dtype.itemsize
    hidden = prunable.layers[0].shape[1]
    # Each token goes through several experts.
    routes = getattr(prunable.decoder.config, "num_experts_per_tok", 1)
    widest = max(
        max(layer.shape) * (routes if isinstance(layer, ExpertLayer) else 1) for layer in prunable.layers
    )
    largest = max(layer.stored.numel() for layer in prunable.layers)
    largest_block = max(
        sum(layer.stored.numel() for layer in prunable.layers if layer.block == index)
        for index in range(len(prunable.blocks))
    )
    kinds: Counter[tuple[int, str]] = Counter()  # all experts' matrices of a kind are decided at once
    for layer in prunable.layers:
        kinds[layer.block, layer.kind] += layer.stored.numel()
    pruned = {"layer": max(kinds.values()), "block": largest_block, "dense": largest}[schedule] * element
    deciding = largest * (3 * 4 + 2)  # weight, scores and their selection in float32; masks
    if gram:
        deciding += gram_bytes(prunable, schedule)
    tokens, together = samples * length, micro_batch * length
    if recovery:
        deciding += recovery_bytes(prunable, tokens, together)
    if prunable.layers[0].stored.device.type == "cpu":
        at_entry = 3 * hidden
        waiting = (
            0 if prunable.stream is None else at_entry
        )  # under `dense`, forwards of a streamed model wait there
        parked = {"layer": 3 * hidden + 3 * widest, "block": at_entry, "dense": waiting}[schedule]
        held = tokens * parked * element
        running = together * (6 * hidden + 4 * widest) * 4
        streamed = 0 if prunable.stream is None else prunable.stream.largest
        return LIBRARIES + held + running + pruned + deciding + streamed + _heap_bytes(prunable)
    # What is seen of the inputs of all layers that are decided together, and the windows themselves.
    seen: Counter[object] = Counter()
    for layer in prunable.layers:
        decided = {"layer": (layer.block, layer.kind), "block": layer.block, "dense": None}[schedule]
        seen[decided] += layer.shape[1] * (SAMPLE_ROWS * element + 8)
    fixed = LIBRARIES + 8 * tokens + max(seen.values()) + pruned
    inside, between = 4 * hidden + max(3 * widest // 2, 9 * hidden // 2), 3 * hidden
    if getattr(prunable.decoder.config, "_attn_implementation", None) == "eager":
        # Every token's attention to every other, and the masks.
        inside += 3 * prunable.decoder.config.num_attention_heads * length + 3 * hidden
        between += 3 * length + hidden
    held = tokens * {"layer": inside, "block": between, "dense": 0}[schedule] * element
    # The statistics' squares are taken in float32. What runs does not decide, and the other way round.
    running = together * ((inside if schedule != "layer" else 0) * element + (2 * hidden + 2 * widest) * 4)
    return fixed + held + max(running, deciding)


def _heap_bytes(prunable: PrunableModel) -> int:
    """What the C library's heap keeps of the matrices it lent out, layer after layer: small objects that stay, such as
    masks, lie between them. Handing it back would cost a tenth of the walk; a streamed model does so, block by block.
    Larger chunks do not come from the heap."""
    kept: Counter[int] = Counter()
    for layer in prunable.layers:
        size = 4 * layer.stored.numel()
        if size < LARGEST_ON_HEAP:
            kept[layer.block] += 3 * size // 2
    return sum(kept.values()) if prunable.stream is None else max(kept.values(), default=0)


def gram_bytes(prunable: PrunableModel, schedule: str) -> int:
    """Upper estimate of what Gram matrices and the update made of them add: those waiting for a decision, and then
    either six more to factorise one, or two and `CORRECTING` of the largest layer's size to correct with it. A walk
    holds those of the layers it decides together (`layer`: an experts module's, `dense`: all)."""
    sizes: dict[object, int] = {}
    widest = 0
    for layer in prunable.layers:
        size = 4 * layer.shape[1] ** 2
        together = {"layer": (layer.block, layer.kind), "block": layer.block, "dense": None}[schedule]
        sizes[together] = sizes.get(together, 0) + size
        widest = max(widest, size)
    largest = 4 * max(layer.stored.numel() for layer in prunable.layers)
    return max(sizes.values()) + max(6 * widest, 2 * widest + CORRECTING * largest)


def recovery_bytes(prunable: PrunableModel, tokens: int, together: int) -> int:
    """Upper estimate of what a recovery adds to a walk.

    Of the largest block in float32: the values in training, their gradients, Adam's two moments and the best values so
    far; masks; where the model is in half precision, the rounded values and the block's other weights, too. For every
    token the dense model's stream, and for those of a micro-batch what the gradient needs of the block's insides.
    """
    element = prunable.layers[0].dtype.itemsize
    hidden = prunable.layers[0].shape[1]
    weights = max(sum(p.numel() for p in block.parameters()) for block in prunable.blocks)
    copies = 5 if element == 4 else 7
    return weights * (4 * copies + 1) + tokens * 3 * hidden * element + together * _insides(prunable)


def _insides(prunable: PrunableModel) -> int:
    """Bytes for each token that a gradient needs of the insides of one block, in float32."""
    hidden = prunable.layers[0].shape[1]
    insides = [
        sum(sum(x.shape) for x in prunable.layers if x.block == block and not isinstance(x, ExpertLayer))
        for block in range(len(prunable.blocks))
    ]
    routes = getattr(prunable.decoder.config, "num_experts_per_tok", 1)
    experts = max(
        (sum(x.shape) * 2 * routes for x in prunable.layers if isinstance(x, ExpertLayer)), default=0
    )
    return 2 * (max(insides) + experts + 8 * hidden) * 4  # as much again for the gradients


LOGITS = 7
"""Float32 copies of a micro-batch's logits that a loss of both models and its gradient take."""


def model_recovery_bytes(prunable: PrunableModel, together: int) -> int:
    """Upper estimate of what a recovery of the whole model takes beside the model: what `recovery_bytes` counts, of all
    weights; and of a micro-batch every block's input, the insides of one, and its logits."""
    element = prunable.layers[0].dtype.itemsize
    weights = sum(parameter.numel() for parameter in prunable.network.parameters())
    copies = 5 if element == 4 else 7
    hidden = prunable.layers[0].shape[1]
    outside = 4 * (hidden * len(prunable.blocks) + LOGITS * prunable.decoder.config.vocab_size)
    return LIBRARIES + weights * (4 * copies + 1) + together * (_insides(prunable) + outside)


def values_in_memory(prunable: PrunableModel, walk: int) -> int:
    """How many bytes of changed values a result holds in memory, the others on disk: of a streamed model no more than a
    walk that needs `walk` bytes leaves free."""
    if prunable.stream is None:
        return MEMORY_CAP
    return max(0, min(MEMORY_CAP, free_bytes(prunable.layers[0].stored.device) - walk))


def refuse_model_recovery(prunable: PrunableModel, length: int, micro_batch: int) -> None:
    """Raise `Refused`, with the figures, where training the whole model needs more memory than there is."""
    free = free_bytes(prunable.layers[0].stored.device)
    needed = model_recovery_bytes(prunable, micro_batch * length)
    if needed > free:
        raise Refused(
            f"{{recovery}} model needs {gigabytes(needed)} beside the model, {gigabytes(free)} are free: choose "
            "{recovery} blocks, which trains one block at a time"
        )


def order_bytes(prunable: PrunableModel) -> int:
    """Upper estimate of what an order of channels takes: while it is searched, the scores of the stream's readers, or
    of one layer, with their columns in one piece and the best of every group; and while a pruned model computes, the
    copies of what is not pruned. Not at the same time, nor while the walk runs."""
    hidden = prunable.layers[0].shape[1]
    largest = max(layer.stored.numel() for layer in prunable.layers)
    widest = max(layer.shape[1] for layer in prunable.layers)
    searching = 4 * (6 * max(ROWS * hidden, largest) + 6 * (widest // 2) ** 2)
    layers = {id(layer.parameter) for layer in prunable.layers}
    others = sum(p.nbytes for p in prunable.network.parameters() if id(p) not in layers)
    return LIBRARIES + max(searching, others)


def refuse_if_too_large(
    prunable: PrunableModel,
    samples: int,
    length: int,
    micro_batch: int,
    schedule: str,
    gram: bool = False,
    recovery: bool = False,
    order: bool = False,
) -> None:
    """Raise `Refused`, with the figures and what would fit, where a walk needs more memory than there is."""
    device = prunable.layers[0].stored.device
    free = free_bytes(device)
    if order and order_bytes(prunable) > free:
        raise Refused(
            f"{{order}} needs {gigabytes(order_bytes(prunable))} beside the model, {gigabytes(free)} are free: "
            "choose none"
        )
    needed = walk_bytes(prunable, samples, length, micro_batch, schedule, gram, recovery)
    if needed <= free:
        return
    advice = "lower {length}"
    fitting = [s for s in (samples // 2**i for i in range(1, 12)) if s]
    for fewer in fitting:
        if walk_bytes(prunable, fewer, length, min(micro_batch, fewer), schedule, gram, recovery) <= free:
            advice = f"{{samples}} {fewer} would fit"
            break
    in_blocks = walk_bytes(prunable, samples, length, micro_batch, "block", gram, recovery)
    if schedule == "layer" and in_blocks <= free:
        advice = f"{{schedule}} block needs {gigabytes(in_blocks)}, or {advice}"
    raise Refused(
        f"pruning with {samples} windows of {length} tokens under {{schedule}} {schedule} needs {gigabytes(needed)} "
        f"beside the model, {gigabytes(free)} are free: {advice}"
    )
