"""Make the figures that the lesson ends its steps on: `python -m assets.recorded.record_lesson MODEL TEXT`.

On the same evaluation windows as the recorded run, whose points it does not measure again; see `record` for MODEL and
TEXT. Every point is written as soon as it is there: a script that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from assets.recorded.record import NAME, SHAPE, texts_of
from components.display.names import point
from wanda_core.experiments.measurement import Measurement
from wanda_core.experiments.points import Calibration, Point
from wanda_core.experiments.protocol import protocol as measured_by
from wanda_core.method.recipe import Recipe
from wanda_core.models.load import load
from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows

LENGTH = SHAPE[1]


POINTS = (
    (SHAPE[0], Recipe(method="wanda", sparsity=0.5, group="layer")),
    (SHAPE[0], Recipe(method="magnitude", sparsity=0.5, group="output")),
    (1, Recipe(method="wanda", sparsity=0.5)),
    (2, Recipe(method="wanda", sparsity=0.5)),
    (4, Recipe(method="wanda", sparsity=0.5)),
    (SHAPE[0], Recipe(method="wanda", sparsity=0.7)),
    (SHAPE[0], Recipe(method="wanda", sparsity=0.8)),
    (SHAPE[0], Recipe(method="magnitude", sparsity=0.7)),
    (32, Recipe(method="wanda", sparsity=0.5)),
)
"""Calibration windows and recipe."""


FILE = Path(__file__).with_name("lesson.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--points", type=int, default=len(POINTS), help="stop after so many new ones")
    options = parser.parse_args()
    model = load(options.model)
    ids = encode(options.text.read_text(encoding="utf-8"), model.tokenizer)
    windows = evaluation_windows(ids, *SHAPE)
    recorded = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"rows": []}
    rows = recorded["rows"]
    measured = {(row["samples"], row["method"], row["sparsity"], row["group"]) for row in rows}
    missing = [
        (samples, recipe)
        for samples, recipe in POINTS
        if (samples, recipe.method, recipe.sparsity, recipe.group) not in measured
    ]
    for samples, recipe in missing[: options.points]:
        tokens = calibration_windows(ids, samples, LENGTH, seed=0, after=windows.numel())
        protocol = measured_by(model, tokens, windows, texts_of(windows)) | {"source": NAME}
        measurement = Measurement(model, windows, lambda _, tokens=tokens: tokens)
        (measured,) = measurement.measure([Point(recipe, Calibration(samples))])
        row = measured.row
        print(point(row), samples, row["perplexity"], row["error"], flush=True)
        rows.append(row)
        # The windows of calibration differ from row to row: each row has its own `samples`.
        own = ("samples", "calibration_sha256", "micro_batch")
        common = {key: value for key, value in protocol.items() if key not in own}
        content = {"protocol": common, "rows": rows}
        FILE.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
