"""What Learn shows of a real model: recorded figures, gathered from the recorded files."""

from __future__ import annotations

import json
from typing import Any

from components.assets import ASSETS

RECORDED = ASSETS / "recorded"
FILES = ("smollm2-135m.json", "lesson.json", "sweep-amounts.json", "sweep-windows.json")
"""Measured on the same windows; a point that is in several files is taken from the first."""
KEY = ("method", "sparsity", "pattern", "group", "samples", "seed")


def figures() -> dict[str, Any]:
    """For the script: `points` (`KEY`, `perplexity`, `low`, `high`), the usual number of calibration `samples`, the
    `protocol` in words, and a cut-out of a real `layer`."""
    runs = [_read(file) for file in FILES]
    protocol = runs[0]["protocol"]
    points: dict[tuple[Any, ...], dict[str, Any]] = {}
    for run in runs:
        for row in run["rows"]:
            key = tuple(row[name] for name in KEY)
            points.setdefault(
                key,
                dict(zip(KEY, key, strict=True))
                | {
                    "perplexity": round(row["perplexity"], 3),
                    "low": round(row["perplexity_low"], 3),
                    "high": round(row["perplexity_high"], 3),
                },
            )
    dates = sorted({run["protocol"]["date"] for run in runs})
    return {
        "points": list(points.values()),
        "samples": protocol["samples"],
        "protocol": (
            f"{protocol['source']}, first {protocol['windows']} windows of {protocol['eval_length']} tokens of "
            f"{protocol['evaluation']}; calibrated on {protocol['samples']} windows of {protocol['length']} tokens "
            f"after them where not said otherwise, seed {protocol['seed']}; {protocol['device']}, "
            f"{protocol['threads']} threads, {protocol['dtype']}; {' and '.join(dates)}."
        ),
        "layer": _read("lesson-layer.json"),
    }


def _read(file: str) -> dict[str, Any]:
    return json.loads((RECORDED / file).read_text(encoding="utf-8"))
