"""The real weights that the lesson shows, cut out of the recorded inspection.

Eight neighbouring inputs around the loudest one, and the three neighbouring outputs where Magnitude and Wanda disagree
on most of those weights. The masks are those of the whole layer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from components.inside.inspection import recorded
from wanda_core.method.masks import choose
from wanda_core.method.pattern import Pattern
from wanda_core.method.scores import SCORES, scores_of

FOLDER = Path(__file__).parent
LAYER = "model.layers.10.self_attn.k_proj"
ROWS, COLUMNS = 3, 8
SPARSITY = 0.5


def record_lesson_layer(_: argparse.Namespace | None = None) -> None:
    """Write `lesson-layer.json`; needs no model."""
    inspection = recorded()
    weight, norms = inspection.weight(LAYER).float(), torch.from_numpy(inspection.norms[LAYER])
    masks = {
        method: choose(
            scores_of(method, LAYER, weight, norms, 0),
            Pattern(),
            SPARSITY,
            SCORES[method].group,
        )
        for method in ("magnitude", "wanda")
    }
    loudest = int(norms.argmax())
    first = loudest // COLUMNS * COLUMNS
    columns = slice(first, first + COLUMNS)
    differ = (masks["magnitude"] != masks["wanda"])[:, columns].sum(dim=1)
    top = int(differ.unfold(0, ROWS, 1).sum(dim=1).argmax())
    rows = slice(top, top + ROWS)
    layer = {
        "name": LAYER,
        "source": inspection.protocol["source"],
        "shape": list(weight.shape),
        "rows": list(range(weight.shape[0])[rows]),
        "columns": list(range(weight.shape[1])[columns]),
        "weights": [[round(value, 5) for value in row] for row in weight[rows, columns].tolist()],
        "norms": [round(value, 3) for value in norms[columns].tolist()],
        **{method: mask[rows, columns].tolist() for method, mask in masks.items()},
        "loudest": loudest,
        "loudness": round(float(norms[loudest] / norms.median()), 3),
    }
    text = json.dumps(layer, separators=(",", ":"), allow_nan=False)
    (FOLDER / "lesson-layer.json").write_text(text + "\n", encoding="utf-8")
