"""What pruning inside the forward pass costs, in forwards of the base model over the same calibration tokens.

    python tests/benchmarks/walk_cost.py SOURCE TEXT [--samples 16] [--length 512] [--rounds 5]

The walk and a plain forward take turns in one run, each in the micro-batch size (1, 2 or 4) that is fastest for it.
Wall time is what counts; the ratio of processor time tells whether another program was in the way.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor

from tests.benchmarks.measure import PeakMemory, touch
from wanda_core import LanguageModel, Recipe
from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

MICRO_BATCHES = (1, 2, 4)
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("text")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", action="store_true", help="only measure the memory, in this fresh process")
    options = parser.parse_args()
    experiment = Experiment.prepare(
        ExperimentSettings(
            source=options.source, calibration=options.text, samples=options.samples, length=options.length
        )
    )
    model, tokens = experiment.model, experiment.tokens
    if options.peak:
        peak(model, tokens)
        return
    print(
        f"{options.source}, {options.samples} x {options.length} tokens, {torch.get_num_threads()} threads, "
        f"load of the machine before {os.getloadavg()[0]:.1f}"
    )
    cost(model, tokens, options.rounds)
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--peak"], check=True)


def cost(model: LanguageModel, tokens: Tensor, rounds: int) -> None:
    forward_size = fastest("forward", lambda size: forward(model, tokens, size))
    walk_size = fastest("walk", lambda size: walk(model, tokens, size))
    forwards, walks, parts = [], [], []
    for _ in range(rounds):
        forwards.append(timed(lambda: forward(model, tokens, forward_size))[:2])
        wall, processor, pruning = timed(lambda: walk(model, tokens, walk_size))
        walks.append((wall, processor))
        parts.append(pruning.seconds)
        print(f"forward {forwards[-1][0]:.2f} s, walk {wall:.2f} s", flush=True)
    wall, processor = (median(w[i] for w in walks) / median(f[i] for f in forwards) for i in (0, 1))
    print(f"\nwalk / forward: {wall:.3f} (medians of {rounds} turns; by processor time {processor:.3f})")
    by_turn = sorted(walk[0] / forward[0] for walk, forward in zip(walks, forwards, strict=True))
    print(f"turn by turn: {', '.join(f'{ratio:.3f}' for ratio in by_turn)}")
    seconds = {key: median(part[key] for part in parts) for key in parts[0]}
    seconds["forward"] = median(f[0] for f in forwards)
    known = sum(seconds[key] for key in ("statistics", "decisions", "errors"))
    seconds["other"] = seconds["total"] - seconds["forward"] - known
    for key in ("forward", "statistics", "decisions", "errors", "other", "total"):
        print(f"  {key:<11}{seconds[key]:8.2f} s  {seconds[key] / seconds['forward']:6.3f} forwards")


def fastest(what: str, work: Callable[[int], object]) -> int:
    """The micro-batch size of the shortest of two goes."""
    seconds = {size: min(timed(lambda size=size: work(size))[0] for _ in range(2)) for size in MICRO_BATCHES}
    print(
        f"{what} by micro-batch: {', '.join(f'{size}: {s:.2f} s' for size, s in seconds.items())}", flush=True
    )
    return min(seconds, key=seconds.__getitem__)


def timed(work: Callable[[], Result]) -> tuple[float, float, Result]:
    """Wall time, processor time and what `work` returns."""
    wall, processor = perf_counter(), process_time()
    result = work()
    return perf_counter() - wall, process_time() - processor, result


@torch.no_grad()
def forward(model: LanguageModel, tokens: Tensor, size: int) -> None:
    for batch in tokens.split(size):
        model.prunable.decoder(input_ids=batch, use_cache=False)


def walk(model: LanguageModel, tokens: Tensor, size: int) -> Pruning:
    return prune(model.prunable, tokens, Recipe(schedule="layer"), micro_batch=size)


def peak(model: LanguageModel, tokens: Tensor) -> None:
    touch(model.network)
    forward(model, tokens[:1, :8], 1)  # what the libraries set up once
    with PeakMemory() as memory:
        walk(model, tokens, 4)
    print(
        f"peak memory above the loaded model: {memory.above / 1e9:.2f} GB, masks included, micro-batches of 4"
    )


if __name__ == "__main__":
    main()
