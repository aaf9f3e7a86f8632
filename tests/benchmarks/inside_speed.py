"""How fast the layer card follows the hand: `python tests/benchmarks/inside_speed.py [MODEL TEXT]`.

Drives the page's own handler with its own values and counts what would be sent. MODEL is SmolLM2-135M-Instruct, TEXT a
UTF-8 file; without them only the random layer of 4096 x 11008 is measured.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from components.inside import handlers
from components.inside.inspection import Inspection, keep, recorded
from components.inside.parts import Parts
from components.workspace.models import _models
from components.workspace.setup import Setup
from wanda_core.inspection.layer_summary import summarise
from wanda_core.method.recipe import Recipe
from wanda_core.models.load import load
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.texts.windows import calibration_windows, encode

RECIPES = (Recipe(method="wanda", sparsity=0.5), Recipe(method="magnitude", sparsity=0.5))


def sized(card: Parts) -> int:
    """Bytes of a card as the page gets it."""
    shown = [value for value in card.listed() if value is not None]
    return sum(len(value.plot if hasattr(value, "plot") else str(value)) for value in shown)


def moves(name: str, source: str, layer: str, others: list[str], percents: range) -> None:
    """Open a layer, move its slider, choose pattern and group, then another layer; print medians and bytes."""
    shown = handlers.Shown(name, source, RECIPES[0], "")
    settings = {
        "shown": shown,
        "compare": "magnitude",
        "weight": "20,40",
        "map_by": "differ",
        "as_pruned": False,
    }

    def timed(chosen: str, **changed: object) -> tuple[float, int]:
        start = perf_counter()
        card = handlers.redrawn({**settings, "layer": chosen, **changed})
        seconds = perf_counter() - start
        assert hasattr(card.plane, "plot"), card.label
        return seconds, sized(card)

    first, _ = timed(layer)
    print(f"first look at {layer}: {1000 * first:.0f} ms")
    kinds = {
        "slider": [timed(layer, preview=p) for p in percents],
        "slider, rows compete": [timed(layer, preview=p, preview_group="output") for p in percents],
        "slider, columns compete": [timed(layer, preview=p, preview_group="input") for p in percents],
        "2:4 and 4:8": [timed(layer, preview_pattern=p) for p in ("2:4", "4:8") * 3],
        "another weight": [timed(layer, weight=f"{r},{2 * r}") for r in range(0, 500, 60)],
        "another layer": [timed(other) for other in others],
    }
    for kind, taken in kinds.items():
        if taken:
            seconds = sorted(t for t, _ in taken)
            print(
                f"{kind:24} median {1000 * median(seconds):4.0f} ms, slowest {1000 * seconds[-1]:4.0f} ms, "
                f"at most {max(size for _, size in taken) / 1000:.0f} KB ({len(taken)} moves)"
            )


def put_model(model: SimpleNamespace, norms: dict, layers: tuple, sha: str) -> str:
    """Keep an inspection as the job would; gives its name."""
    _models.put((model.source, None, "auto"), model, 0)
    protocol = {"calibration_sha256": sha}
    kept = Inspection(
        model.source, None, "auto", model.fingerprint, protocol, RECIPES, {}, layers, norms, name=sha
    )
    keep(kept, Setup(model.source, "pydoc", "pydoc"))
    return kept.name


def real(source: str, text: Path) -> None:
    model = load(source)
    ids = encode(text.read_text(encoding="utf-8"), model.tokenizer)
    seen = collect_statistics(model.prunable, calibration_windows(ids, 2, 256, seed=0)).statistics
    norms = {layer.name: statistics.norms().numpy() for layer, statistics in seen.items()}
    layers = [summarise(layer, statistics, RECIPES, (None, None)) for layer, statistics in seen.items()]
    name = put_model(model, norms, tuple(layers), "real")
    largest = max(model.prunable.layers, key=lambda layer: layer.weight.numel())
    same = [layer.name for layer in model.prunable.layers if layer.kind == largest.kind]
    print(f"{source}: {tuple(largest.weight.shape)}")
    moves(name, model.source, largest.name, same[1:21], range(5, 95, 5))


def large() -> None:
    torch.manual_seed(0)
    layer = SimpleNamespace(name="large", weight=torch.randn(4096, 11008) * 0.02, block=0, kind="large")
    model = SimpleNamespace(source="large", fingerprint="large", prunable=SimpleNamespace(layers=(layer,)))
    print("random: (4096, 11008)")
    summary = replace(recorded().layers[0], name="large")
    moves(
        put_model(model, {"large": (torch.rand(11008) + 0.1).numpy()}, (summary,), "large"),
        "large",
        "large",
        [],
        range(10, 95, 20),
    )


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if len(sys.argv) == 3:
        real(sys.argv[1], Path(sys.argv[2]))
    large()
