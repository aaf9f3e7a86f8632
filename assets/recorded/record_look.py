"""Make the recorded inspection that fills the view Inside at first: `python -m assets.recorded.record_look MODEL`.

MODEL is SmolLM2-135M-Instruct as the page offers it. Texts and windows are the page's own defaults.
"""

from __future__ import annotations

import argparse
import threading
from dataclasses import replace

from components.inside.inspection import save_recorded
from components.inside.job import Inspected, InspectLayers, other_recipe
from components.workspace.defaults import DEFAULTS, RECORDED_MODEL, SMOLLM2, default_text
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core.method.recipe import Recipe

OPENED = [
    f"model.layers.{block}.self_attn.{kind}_proj"
    for block, kind in ((0, "k"), (10, "k"), (20, "v"), (29, "k"))
]
"""Layers whose weights are recorded, too: small ones, because they are float32."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    source = parser.parse_args().model
    text = default_text(SMOLLM2)
    setup = Setup(source, text, text, **{key: DEFAULTS[key] for key in ("samples", "length", "windows")})
    recipe = Recipe(method="wanda", sparsity=0.5)
    events: list[object] = []
    InspectLayers(Focus(setup, recipe), other_recipe(recipe, "magnitude"), "").compute(
        events.append, threading.Event()
    )
    found = events[-1]
    assert isinstance(found, Inspected)
    inspection = replace(
        found.inspection, own={}, protocol=found.inspection.protocol | {"source": RECORDED_MODEL}
    )
    save_recorded(inspection, OPENED)


if __name__ == "__main__":
    main()
