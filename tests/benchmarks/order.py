"""Wanda 2:4 with and without an order of the channels: of each kind of channels alone, and of all together.

    python -m tests.benchmarks.order TEXT [SOURCE]

Prints the share of the Wanda score that is kept (mean over layers): as the channels are, in the order found, and with
an order for every layer of its own, which does not fold into the model: the ceiling. Then perplexities, each with the
paired ratio to Wanda without an order on the same windows. 16 windows of 512 tokens for both, seed 0.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from time import perf_counter

import torch
from torch import Tensor

from wanda_core.evaluation.perplexity import perplexity
from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.experiments.paired import compare_rows
from wanda_core.method.column_order import kept_score, order_columns
from wanda_core.method.pattern import Pattern
from wanda_core.method.recipe import Recipe
from wanda_core.models.channel_order import MLP, RESIDUAL, VALUES, ChannelOrder
from wanda_core.models.prunable_layers import Layer, PrunableModel
from wanda_core.pruning.dense_statistics import DenseStatistics, collect_statistics
from wanda_core.pruning.order_channels import KINDS, find_order
from wanda_core.pruning.prune_model import prune

TWO_FOUR = Pattern(2, 4)
EVERY = 3
"""Of so many blocks one is looked at for the ceiling."""


def main(text: str, source: str = "smollm2") -> None:
    settings = ExperimentSettings(
        source=source, calibration=text, evaluation=text, samples=16, length=512, eval_length=512, windows=16
    )
    experiment = Experiment.prepare(settings)
    prunable, tokens, windows = experiment.model.prunable, experiment.tokens, experiment.windows
    dense = collect_statistics(prunable, tokens)
    rows = {}
    chosen = {"none": (), "stream": (RESIDUAL,), "MLP": (MLP,), "heads": (VALUES,), "all": KINDS}
    print(f"{'order':8} {'seconds':>8} {'kept score':>11} {'perplexity':>11} {'over none':>10}  95% interval")
    for name, kinds in chosen.items():
        start = perf_counter()
        norms = {layer: each.norms() for layer, each in dense.statistics.items()}
        order = find_order(prunable, norms, TWO_FOUR, kinds)
        seconds = perf_counter() - start
        pruning = prune(prunable, tokens, Recipe(pattern="2:4", order="channels"), order=order)
        with pruning.applied(prunable):
            measured = perplexity(experiment.model.network, windows)
        rows[name] = {"window_losses": measured.window_losses, "evaluation_sha256": ""}
        kept = sum(_kept(dense, layer, order.columns(layer.name)) for layer in prunable.layers) / len(
            prunable.layers
        )
        paired = compare_rows(rows["none"], rows[name])
        print(
            f"{name:8} {seconds:8.1f} {kept:11.4f} {measured.value:11.2f} {paired.ratio:10.3f}  "
            + (f"{paired.low:.3f} to {paired.high:.3f}" if name != "none" else ""),
            flush=True,
        )
        if name == "all":
            _ceiling(prunable, dense, order)


def _kept(dense: DenseStatistics, layer: Layer, columns: Tensor | slice) -> float:
    score = layer.weight.float().abs() * dense.statistics[layer].norms()
    return kept_score(score[:, columns], TWO_FOUR) / float(score.sum())


def _ceiling(prunable: PrunableModel, dense: DenseStatistics, order: ChannelOrder) -> None:
    kinds = defaultdict(list)
    for layer in prunable.layers:
        if layer.block % EVERY == 0:
            score = layer.weight.float().abs() * dense.statistics[layer].norms()
            free = order_columns(score, TWO_FOUR)
            ways = (slice(None), order.columns(layer.name), free)
            kinds[layer.kind].append([_kept(dense, layer, way) for way in ways])
    print(f"\n{'kept score':20} {'as it is':>9} {'ordered':>9} {'free':>9} {'of the gain':>12}")
    every = [each for kept in kinds.values() for each in kept]
    for kind, kept in [*kinds.items(), ("all layers", every)]:
        own, ordered, free = torch.tensor(kept, dtype=torch.float64).mean(dim=0).tolist()
        print(f"{kind:20} {own:9.4f} {ordered:9.4f} {free:9.4f} {(ordered - own) / (free - own):12.0%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
