"""Time and peak memory of a walk against the number of calibration tokens and against model size, on random Llamas.

    python tests/benchmarks/scaling.py [--schedules layer,block,dense]

Every point runs in a process of its own. `predicted` is what `memory_needed.walk_bytes` says beforehand, plus the
packed masks; memory is above the loaded model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from tests.benchmarks.measure import VOCABULARY, PeakMemory, random_llama, touch
from wanda_core import Recipe, find_prunable_layers
from wanda_core.pruning.conditions import default_micro_batch
from wanda_core.pruning.memory_needed import walk_bytes
from wanda_core.pruning.prune_model import prune

LENGTH = 512
TOKENS = (2048, 8192, 32768, 65536)
SIZES = {"12M": (384, 6), "31M": (512, 9), "100M": (768, 13), "300M": (1024, 22)}
"""Width and blocks, by weights in linear layers."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--schedules", default="layer,block,dense")
    parser.add_argument("--point", nargs=4, metavar=("WIDTH", "BLOCKS", "TOKENS", "SCHEDULE"))
    options = parser.parse_args()
    if options.point:
        width, blocks, tokens = map(int, options.point[:3])
        print(json.dumps(point(width, blocks, tokens, options.point[3])))
        return
    print(f"{torch.get_num_threads()} threads, load of the machine before {os.getloadavg()[0]:.1f}")
    for schedule in options.schedules.split(","):
        table(
            f"{schedule}: calibration tokens, 31M weights",
            {f"{n:,}": (*SIZES["31M"], n) for n in TOKENS},
            schedule,
        )
        table(
            f"{schedule}: weights, 8,192 tokens",
            {name: (*size, 8192) for name, size in SIZES.items()},
            schedule,
        )


def table(title: str, points: dict[str, tuple[int, int, int]], schedule: str) -> None:
    """One line for each point; growth is that of time and memory when the quantity grows by the factor before it."""
    print(
        f"\n{title}\n{'':>10}{'seconds':>10}{'peak MB':>10}{'predicted':>11}{'ratio':>8}   growth: size, time, memory"
    )
    rows = []
    for name, sizes in points.items():
        command = [sys.executable, __file__, "--point", *map(str, sizes), schedule]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(row | {"size": sizes[2] * sizes[0] ** 2 * sizes[1]})
        line = f"{name:>10}{row['seconds']:>10.2f}{row['peak'] / 1e6:>10.0f}{row['predicted'] / 1e6:>11.0f}"
        line += f"{row['predicted'] / row['peak']:>8.2f}"
        for before, after in list(pairwise(rows))[-1:]:
            growth = [after[key] / before[key] for key in ("size", "seconds", "peak")]
            line += "   " + ", ".join(f"x {factor:.1f}" for factor in growth)
        print(line, flush=True)


def point(width: int, blocks: int, count: int, schedule: str) -> dict[str, float]:
    network = random_llama(width, blocks)
    touch(network)
    prunable = find_prunable_layers(network)
    tokens = torch.randint(VOCABULARY, (count // LENGTH, LENGTH))
    network.model(input_ids=tokens[:1, :8], use_cache=False)  # what the libraries set up once
    micro_batch = min(len(tokens), default_micro_batch(LENGTH, network.device))
    masks = sum(layer.stored.numel() for layer in prunable.layers) // 8
    predicted = walk_bytes(prunable, len(tokens), LENGTH, micro_batch, schedule) + masks
    start = perf_counter()
    with PeakMemory() as memory:
        prune(prunable, tokens, Recipe(schedule=schedule))
    return {"seconds": perf_counter() - start, "peak": memory.above, "predicted": predicted}


if __name__ == "__main__":
    main()
