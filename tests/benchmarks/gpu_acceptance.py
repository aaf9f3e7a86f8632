"""Does everything hold on this machine's GPU? Offline, on random weights that are made on the device.

    python tests/benchmarks/gpu_acceptance.py [--device cuda:0] [--size tiny|1b|7b] [--minutes 25]
        [--only tests,agreement,prune,memory,kernels,model] [--json FILE]

A step that fails says why and the others go on; rows go to the file as they come. Seconds are the device's own. With
WANDA_LAB_DEVICE=simulated:9.0 it runs on a simulated device, whose clock counts kernels: no time is judged there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor

from tests.benchmarks.gpu_models import SIZES, Size, paper_order_seconds, random_model
from tests.support.simulated_device import SimulatedCuda
from wanda_core import LanguageModel, Recipe, Refused, find_prunable_layers
from wanda_core.atomic_write import write_whole
from wanda_core.evaluation.perplexity import perplexity
from wanda_core.machine import LIBRARIES, device_named, gigabytes, give_back, machine
from wanda_core.method.masks import unstructured_mask
from wanda_core.method.methods import METHODS
from wanda_core.pruning.conditions import default_micro_batch
from wanda_core.pruning.memory_needed import walk_bytes
from wanda_core.pruning.prune_model import prune
from wanda_core.speed.layer_latency import measure_shapes, shapes_of
from wanda_core.speed.model_latency import by_magnitude, measure_model
from wanda_core.speed.timing import seconds_of

ROOT = Path(__file__).parents[2]
MASKS_DIFFER, PERPLEXITY_DIFFERS = 1e-3, 1e-3
SELECTION_SECONDS = 0.020
ESTIMATE = (1.0, 1.6)
"""What the memory that is asked for may be of the memory that is taken."""
PRUNED = ("wanda", "magnitude", "ria", "sparsegpt", "wanda+admm")


@dataclass
class Acceptance:
    """The run: where, how large, until when, and what it found."""

    device: torch.device
    size: Size
    until: float
    simulated: bool
    file: Path | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    step: str = ""

    def row(self, passed: bool | None, what: str, **figures: Any) -> None:
        """One result; None: measured, not judged."""
        said = {True: "passed", False: "FAILED", None: "      "}[passed]
        shown = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in figures.items()
        )
        print(f"{self.step:10} {said}  {what}{': ' if shown else ''}{shown}", flush=True)
        self.rows.append({"step": self.step, "what": what, "passed": passed, **figures})
        if self.file is not None:
            protocol = machine(self.device, self.size.dtype) | {"size": self.size.name}
            write_whole(self.file, json.dumps({"protocol": protocol, "rows": self.rows}, indent=1) + "\n")

    def fast(self, seconds: float, most: float) -> bool | None:
        """Whether a time is short enough; not judged by a simulated clock."""
        return None if self.simulated else seconds <= most

    def in_time(self, what: str) -> bool:
        if monotonic() < self.until:
            return True
        self.row(None, f"{what}: no time left")
        return False


def the_machine(run: Acceptance) -> None:
    described = machine(run.device, run.size.dtype)
    free, total = torch.cuda.mem_get_info(run.device)
    run.row(
        True,
        str(described["device"]),
        **{name: described[name] for name in ("cuda", "driver", "torch", "float32_products")},
        cusparselt=torch.backends.cusparselt.is_available(),
        capability=".".join(map(str, torch.cuda.get_device_capability(run.device))),
        memory=gigabytes(total),
        free=gigabytes(free),
    )


def tests(run: Acceptance) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu and not long", "tests/gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    run.row(done.returncode == 0, "pytest -m gpu", said="; ".join(lines[:5]) or done.stdout.strip()[-80:])


def agreement(run: Acceptance) -> None:
    """The same small model in float32 on both: what differs is the order in which sums are added up."""
    there = random_model(SIZES["tiny"], run.device, torch.float32)
    here = random_model(SIZES["tiny"], torch.device("cpu"), torch.float32)
    here.load_state_dict({name: tensor.cpu() for name, tensor in there.state_dict().items()})
    tokens = windows(SIZES["tiny"])
    mine, theirs = find_prunable_layers(here), find_prunable_layers(there)
    for method in PRUNED:
        for pattern in ("unstructured", "2:4"):
            recipe = Recipe(method=method, pattern=pattern)
            wanted = prune(mine, tokens, recipe, micro_batch=2)
            found, again = (prune(theirs, tokens, recipe, micro_batch=2) for _ in range(2))
            differ = sum(
                int((found.masks[name].unpack() != mask.unpack()).sum())
                for name, mask in wanted.masks.items()
            ) / sum(report.weights for report in wanted.reports)
            with wanted.applied(mine), found.applied(theirs):
                values = [perplexity(network, tokens).value for network in (here, there)]
            apart = abs(values[1] / values[0] - 1)
            run.row(
                differ < MASKS_DIFFER and apart < PERPLEXITY_DIFFERS,
                f"CPU and CUDA, {method} {pattern}",
                masks_differ=differ,
                perplexity_differs=apart,
            )
            same = all((again.masks[name].bits == mask.bits).all() for name, mask in found.masks.items())
            run.row(same, f"twice the same on CUDA, {method} {pattern}")


def pruning(run: Acceptance) -> None:
    prunable = find_prunable_layers(random_model(run.size, run.device))
    tokens = windows(run.size)
    paper = paper_order_seconds(prunable, tokens)
    run.row(None, "the paper's order, block by block, window by window", seconds=paper)
    for method in PRUNED:
        for pattern in ("unstructured", "2:4"):
            for schedule in ("layer", "block"):
                what = f"{method} {pattern} {schedule}"
                if not run.in_time(what):
                    continue
                seconds = prune(
                    prunable, tokens, Recipe(method=method, pattern=pattern, schedule=schedule)
                ).seconds
                parts = sum(seconds[name] for name in ("statistics", "decisions", "errors"))
                passed = run.fast(seconds["total"], paper) if method == "wanda" else None
                run.row(
                    passed,
                    what,
                    forward=seconds["total"] - parts,
                    **seconds,
                    of_paper=seconds["total"] / paper,
                )
    for shape in shapes_of(prunable):
        scores = torch.rand(shape, device=run.device)
        for group in ("layer", "output", "input"):
            unstructured_mask(scores, 0.5, group)
            seconds = seconds_of(lambda s=scores, g=group: unstructured_mask(s, 0.5, g), run.device)
            run.row(run.fast(seconds, SELECTION_SECONDS), f"selection {shape} {group}", seconds=seconds)


def memory(run: Acceptance) -> None:
    prunable = find_prunable_layers(random_model(run.size, run.device))
    tokens = windows(run.size)
    samples, length = tokens.shape
    micro_batch = min(samples, default_micro_batch(length, run.device))
    for method in ("wanda", "sparsegpt"):
        for schedule in ("layer", "block"):
            what = f"memory {method} {schedule}"
            if not run.in_time(what):
                continue
            recipe = Recipe(method=method, schedule=schedule)
            give_back()
            torch.cuda.reset_peak_memory_stats(run.device)
            before = torch.cuda.memory_allocated(run.device)
            prune(prunable, tokens, recipe)
            taken = torch.cuda.max_memory_allocated(run.device) - before
            asked = walk_bytes(
                prunable, samples, length, micro_batch, schedule, METHODS[method].needs_gram
            ) - (LIBRARIES if run.size.name == "tiny" else 0)
            ratio = asked / taken
            # Where a model is tiny its largest matrix decides, and there is no need to be close.
            judged = ESTIMATE[0] <= ratio and (ratio <= ESTIMATE[1] or run.size.name == "tiny")
            run.row(judged, what, asked=gigabytes(asked), taken=gigabytes(taken), ratio=ratio)
            prune(prunable, tokens, recipe)
            run.row(True, f"a second run, {method} {schedule}")
    fill = torch.empty(torch.cuda.mem_get_info(run.device)[0] - 2**20, dtype=torch.uint8, device=run.device)
    try:
        prune(prunable, tokens, Recipe())
        run.row(False, "a full card", said="not refused")
    except Refused as error:
        run.row(True, "a full card", said=str(error))
    del fill
    try:
        torch.empty(
            2 * torch.cuda.get_device_properties(run.device).total_memory,
            dtype=torch.uint8,
            device=run.device,
        )
        run.row(False, "a tensor larger than the card", said="not refused")
    except torch.OutOfMemoryError:
        prune(prunable, tokens[:1], Recipe())
        run.row(True, "a small run after running out of memory")


def kernels(run: Acceptance) -> None:
    shapes = dict.fromkeys(run.size.kernel_shapes, 1)
    for row in measure_shapes(shapes, run.size.kernel_tokens, run.device, torch.float16):
        wrong = (row["error"] or "").startswith(("fails", "gives another"))
        figures = {name: row[name] for name in ("milliseconds", "times_dense") if row[name] is not None}
        what = f"{row['shape']} {row['tokens']} tokens, {row['kernel']}"
        run.row(not wrong, what, **figures, **({"said": row["error"]} if row["error"] else {}))


def whole_model(run: Acceptance) -> None:
    network = random_model(run.size, run.device)
    model = LanguageModel("random", None, "", network, None, find_prunable_layers(network))
    prunings = by_magnitude(model.prunable)
    for prompt in run.size.prompts:
        if run.in_time(f"prompt of {prompt}"):
            rows, packs = measure_model(model, prunings, prompt=prompt)
            for row in rows:
                figures = {name: row[name] for name in ("milliseconds", "tokens_per_second", "times_dense")}
                run.row(
                    math.isfinite(row["milliseconds"]), f"{row['part']} {prompt}, {row['kernel']}", **figures
                )
            for name, pack in packs.items():
                reasons = "; ".join(sorted(set(pack.dense.values())))
                run.row(
                    None, f"{name}: packed {len(pack.kernels)} layers, {len(pack.dense)} not", said=reasons
                )


def windows(size: Size) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(size.vocabulary, (size.samples, size.length), generator=generator)


STEPS: dict[str, Callable[[Acceptance], None]] = {
    "tests": tests,
    "agreement": agreement,
    "prune": pruning,
    "memory": memory,
    "kernels": kernels,
    "model": whole_model,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - STEPS.keys():
        parser.error(f"--only takes {', '.join(STEPS)}, not {', '.join(sorted(unknown))}")
    name = os.environ.get("WANDA_LAB_DEVICE", "")
    with simulated(name):
        try:
            device = device_named(options.device)
        except Refused as error:
            parser.error(str(error))
        until = monotonic() + 60 * options.minutes
        run = Acceptance(device, SIZES[options.size], until, bool(name), options.json)
        for step, work in {"machine": the_machine, **{step: STEPS[step] for step in wanted}}.items():
            run.step = step
            if step != "machine" and not run.in_time(step):
                continue
            try:
                work(run)
            except Exception as error:  # whatever it is: the other steps go on
                run.row(False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            give_back()
    passed, failed = (sum(row["passed"] is kind for row in run.rows) for kind in (True, False))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


@contextmanager
def simulated(name: str) -> Iterator[None]:
    if not name:
        yield
        return
    with SimulatedCuda.named(name, memory=2**29):
        yield


if __name__ == "__main__":
    sys.exit(main())
