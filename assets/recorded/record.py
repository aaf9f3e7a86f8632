"""Make the recorded run that fills the page at first: `python -m assets.recorded.record MODEL TEXT`.

MODEL is SmolLM2-135M-Instruct as a folder or GGUF file, TEXT a UTF-8 file of the WikiText-2 test split.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from components.display.names import point
from components.inside.kept_inspections import RECORDED, Look
from components.results.job import Outcome, layer_figures, point_name
from wanda_core.experiments.compare import compare
from wanda_core.experiments.protocol import protocol as measured_by
from wanda_core.method.recipe import Recipe
from wanda_core.models.load import load
from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows


def save_recorded(look: Look, layer: Any) -> None:
    """Write what `recorded` reads: the map, and weight and norms of one layer."""
    from safetensors.torch import save_file

    content = {
        "protocol": look.protocol,
        "recipes": [recipe.as_dict() for recipe in look.recipes],
        "opened": layer.name,
        "layers": [_rounded(asdict(summary)) for summary in look.layers],
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    (RECORDED / "look.json").write_text(text + "\n", encoding="utf-8")
    tensors = {"weight": layer.weight.contiguous(), "norms": look.norms[layer.name]}
    save_file(tensors, RECORDED / "look.safetensors")


def _rounded(summary: dict[str, Any]) -> dict[str, Any]:
    def short(value: Any) -> Any:
        return round(value, 5) if isinstance(value, float) else value

    return {
        k: [short(v) for v in value] if isinstance(value, tuple) else short(value)
        for k, value in summary.items()
    }


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
    model = load(options.model)
    ids = encode(options.text.read_text(encoding="utf-8"), model.tokenizer)
    windows = evaluation_windows(ids, *SHAPE)
    tokens = calibration_windows(ids, *SHAPE, seed=0, after=windows.numel())
    protocol = measured_by(model, tokens, windows, texts_of(windows)) | {"source": NAME}
    recipes = [Recipe(method=m, sparsity=s) for s in SPARSITIES for m in METHODS]
    recipes += [Recipe(method=m, pattern=p) for p in PATTERNS for m in METHODS]
    layers = {}

    def keep(row: dict[str, Any], pruning: Any) -> None:
        print(point(row), row["perplexity"], row["error"], flush=True)
        if pruning is not None and row["sparsity"] == 0.5 and row["pattern"] == "unstructured":
            layers[point_name(pruning.recipe)] = layer_figures(pruning)

    rows = compare(model, tokens, windows, recipes, on_row=keep)
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
