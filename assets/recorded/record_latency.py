"""Make the recorded measurement of the Speed and export view: `python -m assets.recorded.record_latency MODEL`.

MODEL is SmolLM2-135M-Instruct as a folder or GGUF file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from components.speed.job import TOKENS, Latency, sizes_of
from wanda_core.models.load import load
from wanda_core.speed import layer_latency, model_latency
from wanda_core.speed.layer_latency import measure_shapes, shapes_of

NAME = "SmolLM2-135M-Instruct"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    model = load(parser.parse_args().model)
    layer = model.prunable.layers[0].stored
    protocol = layer_latency.protocol(model, TOKENS, layer.device, layer.dtype) | {
        "source": NAME,
        "method": "magnitude",
    }
    prunings = model_latency.by_magnitude(model.prunable)
    whole, packs = model_latency.measure_model(model, prunings, rounds=7)
    rows = measure_shapes(shapes_of(model.prunable), TOKENS, layer.device, layer.dtype)
    outcome = vars(Latency(protocol, rows + whole, sizes_of(model, prunings["2:4"], packs["2:4"])))
    file = Path(__file__).with_name("latency-smollm2-135m.json")
    file.write_text(json.dumps(outcome, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")
    for row in whole:
        print(
            f"{row['part']} {row['kernel']}: {row['tokens_per_second']:.1f} tokens/s, {row['times_dense']:.2f} x dense"
        )


if __name__ == "__main__":
    main()
