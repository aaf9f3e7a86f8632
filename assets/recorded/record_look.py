"""Make the recorded look that fills the view Inside at first: `python -m assets.recorded.record_look MODEL TEXT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from assets.recorded.record import NAME, SHAPE, texts_of
from components.look import RECORDED_KEY, Look, save_recorded
from wanda_core import calibration, experiments, models
from wanda_core.overview import summarise
from wanda_core.prune import gather
from wanda_core.recipe import Recipe

RECIPES = (Recipe(method="magnitude", sparsity=0.5), Recipe(method="wanda", sparsity=0.5))
OPENED = "model.layers.10.self_attn.k_proj"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="see record")
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    model = models.load(options.model)
    ids = calibration.encode(options.text.read_text(encoding="utf-8"), model.tokenizer)
    windows = calibration.evaluation_windows(ids, *SHAPE)
    tokens = calibration.calibration_windows(ids, *SHAPE, seed=0, after=windows.numel())
    layers, norms = {}, {}
    for layer, statistics in gather(model.anatomy, tokens).statistics.items():
        norms[layer.name] = statistics.norms()
        layers[layer.name] = summarise(layer, statistics, RECIPES, (None, None))
    protocol = experiments.protocol(model, tokens, windows, texts_of(windows)) | {"source": NAME}
    ordered = tuple(layers[layer.name] for layer in model.anatomy.layers)
    look = Look(NAME, RECORDED_KEY, protocol, RECIPES, (False, False), ordered, norms)
    save_recorded(look, next(layer for layer in model.anatomy.layers if layer.name == OPENED))


if __name__ == "__main__":
    main()
