"""A sweep of three methods and five sparsities: seconds, and windows sent through the model against those needed.

    python tests/benchmarks/sweep.py SOURCE CALIBRATION EVALUATION [--samples 16] [--length 256] [--windows 32]
        [--methods magnitude,wanda,ria] [--schedule layer|dense]

Needed: every evaluation, and for every pruning its calibration windows once: under `dense` one forward for all of them,
for a method that does not look at the inputs the few windows that output errors are measured on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.experiments.points import Point, describe
from wanda_core.experiments.sweep import Axes, sweep
from wanda_core.method.input_statistics import SAMPLE_ROWS, SAMPLE_ROWS_PER_WINDOW
from wanda_core.method.methods import METHODS

GIVEN = ("source", "calibration", "evaluation", "samples", "length", "windows")
SPARSITIES = (0.3, 0.4, 0.5, 0.6, 0.7)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("calibration")
    parser.add_argument("evaluation")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--methods", default="magnitude,wanda,ria")
    parser.add_argument("--schedule", default="layer")
    options = parser.parse_args()
    experiment = Experiment.prepare(
        ExperimentSettings(**{field: getattr(options, field) for field in GIVEN}, eval_length=options.length)
    )
    model, windows = experiment.model, experiment.windows
    assert windows is not None
    axes = Axes(
        tuple(options.methods.split(",")), SPARSITIES, samples=(options.samples,), schedule=options.schedule
    )
    points = axes.points()
    done = 0

    def count(_module: object, _args: tuple, kwargs: dict) -> None:
        nonlocal done
        done += kwargs["input_ids"].shape[0]

    hook = model.prunable.decoder.register_forward_pre_hook(count, with_kwargs=True)
    start = perf_counter()
    for measured in sweep(
        model,
        windows,
        points,
        lambda c: experiment.calibration(c.samples, c.text or None, c.seed),
    ):
        label = describe(measured.point.recipe) if measured.point.recipe else "dense"
        print(
            f"{label:<16}{measured.row['perplexity'] or 0:>12.3f}{perf_counter() - start:>8.1f} s", flush=True
        )
    seconds = perf_counter() - start
    hook.remove()
    need = needed(points, len(windows))
    print(
        f"{len(points)} points in {seconds:.1f} s, {torch.get_num_threads()} threads; windows through the model: "
        f"{done} done, {need} needed"
    )


def needed(points: list[Point], windows: int) -> int:
    total, gathered = windows * len(points), set()
    for point in points[1:]:
        if point.recipe.schedule == "dense" and METHODS[point.recipe.method].needs_inputs:
            gathered.add(point.calibration)
        elif METHODS[point.recipe.method].needs_inputs:
            total += point.calibration.samples
        elif point.recipe.schedule != "dense":
            total += min(point.calibration.samples, SAMPLE_ROWS // SAMPLE_ROWS_PER_WINDOW)
    return total + sum(calibration.samples for calibration in gathered)


if __name__ == "__main__":
    main()
