"""Make the recorded run that fills the page at first: `python -m assets.recorded.record MODEL TEXT`.

MODEL is SmolLM2-135M-Instruct as a folder or GGUF file, TEXT a UTF-8 file of the WikiText-2 test split.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from components.measure import Outcome, layer_figures, point_name
from components.words import point
from wanda_core import calibration, experiments, models
from wanda_core.recipe import Recipe

METHODS = ("magnitude", "wanda")
SPARSITIES = (0.3, 0.5, 0.6)
PATTERNS = ("2:4",)
SHAPE = (8, 512)
"""Windows and tokens of a window, of calibration and evaluation alike."""
NAME = "SmolLM2-135M-Instruct"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    model = models.load(options.model)
    ids = calibration.encode(options.text.read_text(encoding="utf-8"), model.tokenizer)
    windows = calibration.evaluation_windows(ids, *SHAPE)
    tokens = calibration.calibration_windows(ids, *SHAPE, seed=0, after=windows.numel())
    protocol = experiments.protocol(model, tokens, windows, texts_of(windows)) | {"source": NAME}
    recipes = [Recipe(method=m, sparsity=s) for s in SPARSITIES for m in METHODS]
    recipes += [Recipe(method=m, pattern=p) for p in PATTERNS for m in METHODS]
    layers = {}

    def keep(row: dict[str, Any], pruning: Any) -> None:
        print(point(row), row["perplexity"], row["error"], flush=True)
        if pruning is not None and row["sparsity"] == 0.5 and row["pattern"] == "unstructured":
            layers[point_name(pruning.recipe)] = layer_figures(pruning)

    rows = experiments.compare(model, tokens, windows, recipes, on_row=keep)
    outcome = vars(Outcome(protocol, rows, layers))
    file = Path(__file__).with_name(f"{NAME.removesuffix('-Instruct').lower()}.json")
    file.write_text(json.dumps(outcome, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")


def texts_of(windows: Tensor) -> dict[str, Any]:
    """What the protocol says about the texts: calibrated on the same one, after what is evaluated."""
    return {
        "calibration": "WikiText-2 (test)",
        "calibration_after": windows.numel(),
        "seed": 0,
        "evaluation": "WikiText-2 (test)",
    }


if __name__ == "__main__":
    main()
