"""Make the recorded look that fills the view Inside at first: `python -m assets.recorded.record_look MODEL TEXT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from assets.recorded.record import NAME, SHAPE, save_recorded, texts_of
from components.inside.kept_inspections import RECORDED_KEY, Look
from wanda_core.experiments.protocol import protocol as measured_by
from wanda_core.inspection.layer_summary import summarise
from wanda_core.method.recipe import Recipe
from wanda_core.models.load import load
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows

RECIPES = (Recipe(method="magnitude", sparsity=0.5), Recipe(method="wanda", sparsity=0.5))


OPENED = "model.layers.10.self_attn.k_proj"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="see record")
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    model = load(options.model)
    ids = encode(options.text.read_text(encoding="utf-8"), model.tokenizer)
    windows = evaluation_windows(ids, *SHAPE)
    tokens = calibration_windows(ids, *SHAPE, seed=0, after=windows.numel())
    layers, norms = {}, {}
    for layer, statistics in collect_statistics(model.prunable, tokens).statistics.items():
        norms[layer.name] = statistics.norms()
        layers[layer.name] = summarise(layer, statistics, RECIPES, (None, None))
    protocol = measured_by(model, tokens, windows, texts_of(windows)) | {"source": NAME}
    ordered = tuple(layers[layer.name] for layer in model.prunable.layers)
    look = Look(NAME, RECORDED_KEY, protocol, RECIPES, (False, False), ordered, norms)
    save_recorded(look, next(layer for layer in model.prunable.layers if layer.name == OPENED))


if __name__ == "__main__":
    main()
