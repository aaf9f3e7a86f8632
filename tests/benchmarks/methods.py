"""All methods on one model: perplexity and seconds at 50, 60, 70%, 4:8, 2:4; and SparseGPT against the paper's order.

    python tests/benchmarks/methods.py SOURCE TEXT [--samples 16] [--length 512] [--windows 16] [--only speed|quality]

TEXT is both evaluation (its first windows) and, after them, calibration.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor

from wanda_core import Recipe
from wanda_core.experiments.compare import compare
from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.experiments.points import describe
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.conditions import default_micro_batch
from wanda_core.pruning.prune_model import prune

METHODS = ("magnitude", "wanda", "ria", "random", "sparsegpt", "wanda+admm")
SPARSITIES = (0.5, 0.6, 0.7)
PATTERNS = ("4:8", "2:4")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("text")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--only", choices=["speed", "quality"])
    options = parser.parse_args()
    experiment = Experiment.prepare(
        ExperimentSettings(
            source=options.source,
            calibration=options.text,
            evaluation=options.text,
            samples=options.samples,
            length=options.length,
            windows=options.windows,
            eval_length=options.length,
        )
    )
    model, tokens, windows = experiment.model, experiment.tokens, experiment.windows
    assert windows is not None
    print(
        f"{options.source}, {options.samples} x {options.length} calibration tokens, {options.windows} evaluation "
        f"windows of the same length, {torch.get_num_threads()} threads"
    )
    if options.only != "quality":
        speed(model, tokens)
    if options.only != "speed":
        quality(model, tokens, windows)


def quality(model: LanguageModel, tokens: Tensor, windows: Tensor) -> None:
    """One line for each method and point, as it comes out."""
    recipes = [Recipe(method=m, sparsity=s) for s in SPARSITIES for m in METHODS]
    recipes += [Recipe(method=m, sparsity=0.7, allocation="owl") for m in ("magnitude", "wanda", "sparsegpt")]
    recipes += [Recipe(method=m, pattern=p) for p in PATTERNS for m in METHODS]
    print(f"{'method':<16}{'allocation':<12}{'perplexity':>14}{'seconds':>10}{'sparsity':>10}")
    named = iter([None, *recipes])

    def show(row: dict, _: object) -> None:
        recipe = next(named)
        label = describe(recipe) if recipe else "dense"
        value = f"{row['perplexity']:,.2f}" if row["perplexity"] is not None else row["error"]
        print(
            f"{label:<16}{row['allocation'] or '':<12}{value:>14}{row['prune_seconds'] or 0:>10.1f}"
            f"{row['sparsity_reached'] or 0:>10.4f}",
            flush=True,
        )

    compare(model, tokens, windows, recipes, on_row=show)


def speed(model: LanguageModel, tokens: Tensor) -> None:
    """Where Wanda's time goes, and SparseGPT in one walk against the paper's order, one after the other."""
    wanda = prune(model.prunable, tokens, Recipe()).seconds
    print(
        f"wanda 50%: {wanda['total']:.1f} s, of that scoring, selection and packing "
        f"{wanda['decisions']:.2f} s ({wanda['decisions'] / wanda['total']:.1%})"
    )
    ours = prune(model.prunable, tokens, Recipe(method="sparsegpt")).seconds
    print("sparsegpt 50%, one walk: " + ", ".join(f"{key} {value:.1f} s" for key, value in ours.items()))
    start = perf_counter()
    papers_order(model.prunable, tokens)
    paper = perf_counter() - start
    print(
        f"sparsegpt 50%, the paper's order: {paper:.1f} s; one walk takes {ours['total'] / paper:.2f} of that"
    )


@torch.no_grad()
def papers_order(prunable: PrunableModel, tokens: Tensor) -> None:
    """SparseGPT as published: a forward of each block to gather every layer's own Hessian, the layers corrected column
    by column with updates to all later columns of the block, a second forward of the block as pruned.

    Both forwards of a block run inside the model's forward, window by window as in the published code's order, in the
    micro-batches of the walk; a block's inputs are captured once and replayed. (Models whose blocks take the same
    arguments only.)
    """
    batches = tokens.split(min(len(tokens), default_micro_batch(tokens.shape[1], tokens.device)))
    calls = _block_inputs(prunable, batches)
    for index, block in enumerate(prunable.blocks):
        layers = [layer for layer in prunable.layers if layer.block == index]
        hessians = {layer: torch.zeros(layer.weight.shape[1], layer.weight.shape[1]) for layer in layers}
        hooks = [
            layer.module.register_forward_pre_hook(
                lambda _, args, h=hessians[layer]: _add(h, args[0].flatten(0, -2))
            )
            for layer in layers
        ]
        for hidden, arguments in calls:
            block(hidden, **arguments)
        for hook in hooks:
            hook.remove()
        for layer in layers:
            layer.point_at(_column_by_column(layer.weight.clone(), hessians[layer], 0.5))
        calls = [(_first(block(hidden, **arguments)), arguments) for hidden, arguments in calls]
    prunable.restore()


def _add(hessian: Tensor, rows: Tensor) -> None:
    hessian += rows.t() @ rows


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _block_inputs(prunable: PrunableModel, batches: tuple[Tensor, ...]) -> list[tuple[Tensor, dict]]:
    """Hidden states and arguments that the first block is called with."""
    calls: list[tuple[Tensor, dict]] = []

    class Reached(Exception):
        pass

    def catch(_: object, args: tuple, kwargs: dict) -> None:
        calls.append((args[0], kwargs))
        raise Reached

    hook = prunable.blocks[0].register_forward_pre_hook(catch, with_kwargs=True)
    for batch in batches:
        try:
            prunable.decoder(input_ids=batch, use_cache=False)
        except Reached:
            continue
    hook.remove()
    return calls


def _column_by_column(weight: Tensor, hessian: Tensor, sparsity: float) -> Tensor:
    """Algorithm 1 of SparseGPT with the steps in its own order: correct to the right after every column."""
    columns = weight.shape[1]
    hessian.diagonal().add_(0.01 * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    upper = torch.linalg.cholesky(inverse, upper=True)
    for start, stop in pairwise([*range(0, columns, 128), columns]):
        part, factor = weight[:, start:stop].clone(), upper[start:stop, start:stop]
        losses = part.square() / factor.diagonal().square()
        threshold = losses.flatten().sort().values[int(losses.numel() * sparsity)]
        errors = torch.zeros_like(part)
        for column in range(stop - start):
            value = part[:, column]
            pruned = value.masked_fill(losses[:, column] <= threshold, 0)
            errors[:, column] = (value - pruned) / factor[column, column]
            part[:, column:] -= errors[:, column : column + 1] @ factor[column : column + 1, column:]
            part[:, column] = pruned
        weight[:, start:stop] = part
        weight[:, stop:] -= errors @ upper[start:stop, stop:]
    return weight


if __name__ == "__main__":
    main()
