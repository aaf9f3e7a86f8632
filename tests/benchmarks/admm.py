"""Processor time of `admm`, which chooses the mask while it corrects, against `wanda+admm`.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/admm.py

Each figure is the median of seven runs, the two methods in turn, from the Gram matrix to weights and mask, on random
layers with correlated inputs of different size. Processor time, so that a busy machine does not matter.
"""

from __future__ import annotations

import statistics
import time

import torch

from wanda_core.method.admm import AdmmFactor
from wanda_core.method.masks import choose
from wanda_core.method.pattern import Pattern

RUNS = 7


def main() -> None:
    draw = torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'layer':<12}{'amount':<16}{'wanda+admm ms':>14}{'admm ms':>10}{'times':>8}")
    for rows, columns in ((576, 576), (1536, 576), (576, 1536)):
        weight = torch.randn(rows, columns, generator=draw)
        inputs = torch.randn(4096, columns, generator=draw) * torch.rand(columns, generator=draw).mul(3).exp()
        mixed = torch.eye(columns) + 0.3 * torch.randn(columns, columns, generator=draw) / columns**0.5
        gram = (inputs @ mixed).t() @ (inputs @ mixed)
        for name, sparsity in (("unstructured", 0.5), ("unstructured", 0.7), ("2:4", 0.5), ("4:8", 0.5)):
            given, chosen = [], []
            for _ in range(RUNS + 1):
                for seconds, chooses in ((given, False), (chosen, True)):
                    start = time.process_time()
                    _update(weight, gram.clone(), Pattern.parse(name), sparsity, chooses)
                    seconds.append(time.process_time() - start)
            one, other = (1e3 * statistics.median(seconds[1:]) for seconds in (given, chosen))
            print(
                f"{f'{rows}x{columns}':<12}{f'{name} {sparsity:.0%}':<16}{one:>14.0f}{other:>10.0f}{other / one:>8.2f}"
            )


def _update(
    weight: torch.Tensor, gram: torch.Tensor, pattern: Pattern, sparsity: float, chooses: bool
) -> None:
    norms = gram.diagonal().sqrt()
    mask = None if chooses else choose(weight.abs() * norms, pattern, sparsity, "output")
    AdmmFactor.of(gram).update(weight, mask, sparsity, pattern)


if __name__ == "__main__":
    main()
