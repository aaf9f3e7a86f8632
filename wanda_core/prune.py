"""Prune a model by a recipe: the walk and the method brought together."""

from __future__ import annotations

import platform
import threading
import zlib
from pathlib import Path
from time import perf_counter

import torch
import transformers
from torch import Tensor

from wanda_core import memory
from wanda_core.activations import SAMPLE_ROWS, SAMPLE_ROWS_PER_WINDOW, InputStatistics
from wanda_core.errors import Refused
from wanda_core.layers import Anatomy, Layer
from wanda_core.masks import structured_mask, unstructured_mask
from wanda_core.methods import METHODS
from wanda_core.pruning import LayerReport, PackedMask, Pruning, pruned_weight
from wanda_core.recipe import Recipe
from wanda_core.scores import SCORES
from wanda_core.walk import OnProgress, Walk


def prune(
    anatomy: Anatomy,
    tokens: Tensor,
    recipe: Recipe,
    *,
    micro_batch: int | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Pruning:
    """Decide the mask of every layer. The model itself is unchanged afterwards; see `Pruning.applied`.

    Args:
        anatomy: the model, from `take_apart`.
        tokens: calibration windows, int64 (samples, length). A method that does not look at the inputs runs only the
            few windows that the report's output error is measured on.
        micro_batch: windows in one forward; None: `default_micro_batch`.
        on_progress: called with the share done and the layer's name.
        stop: set it from another thread to end with `Stopped`.

    Raises:
        Refused: the recipe does not fit the model, the memory does not suffice, or weights or inputs hold NaN.
        Stopped: `stop` was set.
    """
    _check(anatomy, tokens, recipe)
    if not METHODS[recipe.method].needs_inputs:
        tokens = tokens[: -(-SAMPLE_ROWS // SAMPLE_ROWS_PER_WINDOW)]
    device = anatomy.layers[0].stored.device
    samples, length = tokens.shape
    micro_batch = min(samples, micro_batch or default_micro_batch(length, device))
    memory.refuse_if_too_large(anatomy, samples, length, micro_batch, recipe.schedule)

    result = Pruning(recipe, conditions=conditions(anatomy, micro_batch))
    decision = _Decision(recipe, result)
    walk = Walk(
        anatomy,
        tokens.to(device),
        decision,
        micro_batch=micro_batch,
        schedule=recipe.schedule,
        on_progress=on_progress,
        stop=stop,
    )
    start = perf_counter()
    try:
        walk.run()
    except torch.OutOfMemoryError as error:
        raise Refused(
            f"out of memory on {device} while pruning: take fewer --samples, a smaller --length or --schedule block"
        ) from error
    result.uncalled = walk.uncalled
    result.seconds = {
        "total": perf_counter() - start,
        "statistics": walk.statistics_seconds,
        "decisions": sum(report.seconds for report in result.reports),
        "errors": decision.error_seconds,
    }
    return result


def default_micro_batch(length: int, device: torch.device) -> int:
    """Windows in one forward: about 2,048 tokens on a CPU, where larger activations only cost page faults."""
    return max(1, (2048 if device.type == "cpu" else 16384) // length)


def conditions(anatomy: Anatomy, micro_batch: int) -> dict[str, str | int]:
    """What beside recipe, calibration and weights decides every last bit of a result."""
    weight = anatomy.layers[0].stored
    return {
        "device": torch.cuda.get_device_name(weight.device)
        if weight.is_cuda
        else platform.machine() + " CPU",
        "dtype": str(weight.dtype).removeprefix("torch."),
        "micro_batch": micro_batch,
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


class _Decision:
    """Decides one layer after the other and writes masks and reports into the result."""

    def __init__(self, recipe: Recipe, result: Pruning) -> None:
        self.recipe = recipe
        self.result = result
        self.error_seconds = 0.0

    def __call__(self, layer: Layer, statistics: InputStatistics) -> Tensor:
        start = perf_counter()
        mask = self._mask(layer, statistics.norms())
        weight = pruned_weight(layer, mask)
        self.result.masks[layer.name] = PackedMask.pack(mask)
        decided = perf_counter()
        error = relative_output_error(layer.weight, weight, statistics.sample())
        self.error_seconds += perf_counter() - decided
        self.result.reports.append(
            LayerReport(
                name=layer.name,
                block=layer.block,
                kind=layer.kind,
                weights=mask.numel(),
                pruned=mask.numel() - int(mask.sum()),
                error=error,
                seconds=decided - start,
            )
        )
        return weight

    def _mask(self, layer: Layer, norms: Tensor) -> Tensor:
        weight = layer.weight.float()
        if not torch.isfinite(weight.sum()):
            raise Refused(f"the weights of {layer.name} hold NaN or infinite values")
        if not torch.isfinite(norms).all():
            raise Refused(f"the input of {layer.name} holds NaN or infinite values: try --dtype float32")
        # Seeded by layer, so that a layer's noise does not depend on which layers came before it.
        generator = torch.Generator().manual_seed(self.recipe.seed ^ zlib.crc32(layer.name.encode()))
        scores = SCORES[METHODS[self.recipe.method].score].function(weight, norms, generator)
        pattern = self.recipe.parsed_pattern
        if pattern.structured:
            return structured_mask(scores, pattern.keep, pattern.among)
        return unstructured_mask(scores, self.recipe.sparsity, self.recipe.group)


def relative_output_error(dense: Tensor, pruned: Tensor, inputs: Tensor) -> float:
    """`||X (W - W')^T|| / ||X W^T||` in the Frobenius norm; 0 where the dense output is all zero.

    Args:
        dense, pruned: W and W', (out_features, in_features).
        inputs: X, (rows, in_features).
    """
    expected = (inputs @ dense.t()).float()
    size = expected.norm()
    return float((expected - (inputs @ pruned.t()).float()).norm() / size) if size > 0 else 0.0


def _check(anatomy: Anatomy, tokens: Tensor, recipe: Recipe) -> None:
    """Refuse what can be known to fail before the first forward."""
    if tokens.dim() != 2 or tokens.dtype != torch.int64 or 0 in tokens.shape:
        raise Refused("calibration must be int64 token windows of shape (samples, length)")
    vocabulary = anatomy.decoder.get_input_embeddings().weight.shape[0]
    if int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary:
        raise Refused(f"calibration holds a token outside the model's vocabulary of {vocabulary:,}")
    pattern = recipe.parsed_pattern
    for layer in anatomy.layers:
        if pattern.structured and layer.weight.shape[1] % pattern.among:
            raise Refused(
                f"pattern {pattern} does not divide the {layer.weight.shape[1]} inputs of {layer.name}: "
                f"choose an M that does"
            )
