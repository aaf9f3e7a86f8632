"""The lesson's arithmetic is the engine's: the page's own script, in node, on a thousand random matrices."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.inside.inspection import recorded
from components.learn.report import FILES, RECORDED, figures
from wanda_core.method.admm import AdmmFactor, admm
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.method.masks import choose
from wanda_core.method.output_error import relative_output_error
from wanda_core.method.pattern import Pattern
from wanda_core.method.scores import scores_of
from wanda_core.method.sparsegpt import SparseGptFactor, sparsegpt

SCRIPT = Path(__file__).parents[4] / "assets" / "learn" / "arithmetic.js"
MATRICES = 1000
SPARSITIES = (0, 0.125, 0.25, 0.3, 0.375, 0.5, 0.6, 0.625, 0.7, 0.75, 0.875, 0.9, 1)
SETTINGS = [
    {"pattern": pattern, "group": group, "sparsity": sparsity}
    for pattern, group, sparsity in [
        *(("unstructured", group, s) for group in ("output", "layer", "input") for s in SPARSITIES),
        *((pattern, None, 0.5) for pattern in ("2:4", "4:8", "1:2")),
        ("1:4", None, 0.75),
        ("3:4", None, 0.25),
    ]
]
DRIVER = """
const lesson = require(process.argv[1]);
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(({ w, x, method, settings }) => {
  const norms = lesson.normsOf(x);
  const scores = lesson.scoresOf(method, w, norms);
  const mask = lesson.maskOf(scores, settings);
  const error = lesson.outputError(w, lesson.pruned(w, mask), x);
  return { norms, scores, mask, error };
})));
"""


def in_node(driver: str, given: Any) -> Any:
    """What a script of node prints for `given`, both as JSON; the lesson's arithmetic is its first argument."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    run = subprocess.run(
        [node, "-e", driver, str(SCRIPT)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def matrices(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Random W (3, 8) and X (tokens, 8). A third are coarse, so that scores tie, and hold zeros, also negative ones."""
    generator = np.random.default_rng(0)
    found = []
    for number in range(count):
        tokens = int(generator.integers(1, 6))
        w = generator.normal(size=(3, 8)) * 10.0 ** generator.integers(-6, 6)
        x = generator.normal(size=(tokens, 8)) * 10.0 ** generator.integers(-6, 6, size=8)
        if number % 3 == 0:
            w, x = (
                np.round(generator.normal(size=(3, 8)) * 2) / 2,
                np.round(generator.normal(size=(tokens, 8))),
            )
            w[generator.integers(3)] *= -0.0
            x[:, generator.integers(8)] = 0
        found.append((torch.tensor(w, dtype=torch.float32), torch.tensor(x, dtype=torch.float32)))
    return found


def statistics_of(x: torch.Tensor, gram: bool = False) -> InputStatistics:
    """What the engine gathers of these tokens."""
    statistics = InputStatistics(x.shape[1], x.device, len(x), gram)
    statistics.add(x)
    return statistics


@pytest.mark.parametrize("count", [100, pytest.param(MATRICES, marks=pytest.mark.long)])
def test_scores_masks_and_errors_are_the_engines(count: int) -> None:
    draw = random.Random(0)
    cases, tied = [], 0
    for w, x in matrices(count):
        for method in ("magnitude", "wanda"):
            # Six settings for each matrix, every one for some hundred: all on all would take minutes.
            for settings in draw.sample(SETTINGS, 6):
                cases.append({"w": w.tolist(), "x": x.tolist(), "method": method, "settings": settings})
    assert len(cases) == 12 * count
    for case, found in zip(cases, in_node(DRIVER, cases), strict=True):
        w, x, settings = torch.tensor(case["w"]), torch.tensor(case["x"]), case["settings"]
        norms = statistics_of(x).norms()
        scores = scores_of(case["method"], "lesson", w, norms, 0)
        mask = choose(scores, Pattern.parse(settings["pattern"]), settings["sparsity"], settings["group"])
        assert torch.allclose(torch.tensor(found["norms"], dtype=torch.float32), norms, rtol=1e-6, atol=0)
        assert torch.allclose(torch.tensor(found["scores"], dtype=torch.float32), scores, rtol=1e-6, atol=0)
        assert found["mask"] == mask.tolist(), case
        assert found["error"]["all"] == pytest.approx(relative_output_error(w, w * mask, x), abs=1e-6)
        for row, error in enumerate(found["error"]["rows"]):
            one = slice(row, row + 1)
            exact = relative_output_error(w[one].double(), (w * mask)[one].double(), x.double())
            assert error == pytest.approx(exact, rel=1e-6, abs=1e-6)
        tied += int(any(len(set(row)) < 8 for row in scores.tolist()))
    assert tied > count  # ties were among them


def test_updates_are_the_engines() -> None:
    generator = np.random.default_rng(1)
    cases = []
    for number in range(200):
        w = generator.normal(size=(3, 8))
        x = generator.normal(size=(32, 8)) * generator.uniform(0.1, 4, size=8)
        x[:, 1::2] += generator.normal(size=(32, 1))
        if number % 10 == 0:
            x[:, 3] = 0
        settings = {"pattern": ("unstructured", "2:4")[number % 2], "sparsity": 0.5, "group": "output"}
        cases.append(
            {"w": w.astype(np.float32).tolist(), "x": x.astype(np.float32).tolist(), "settings": settings}
        )
    driver = """
    const lesson = require(process.argv[1]);
    const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log(JSON.stringify(cases.map(({ w, x, settings }) => {
      const mask = lesson.maskOf(lesson.scoresOf("wanda", w, lesson.normsOf(x)), settings);
      return { admm: lesson.admm(w, x, mask), mask, sparsegpt: lesson.sparsegpt(w, x, settings) };
    })));
    """
    for case, found in zip(cases, in_node(driver, cases), strict=True):
        w, x, settings = torch.tensor(case["w"]), torch.tensor(case["x"]), case["settings"]
        pattern = Pattern.parse(settings["pattern"])
        statistics = statistics_of(x, gram=True)
        moved = admm(w, AdmmFactor.of(statistics.gram()), torch.tensor(found["mask"]))
        assert torch.allclose(torch.tensor(found["admm"]), moved, rtol=1e-4, atol=1e-5)
        values, mask = sparsegpt(w, SparseGptFactor.of(statistics.gram()), settings["sparsity"], pattern)
        assert found["sparsegpt"]["mask"] == mask.tolist()
        assert torch.allclose(torch.tensor(found["sparsegpt"]["weight"]), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("0.5", 0.5), (" −2 ", -2), ("+3", 3), ("0,5", 0.5), (".5", 0.5), ("1.", 1), ("1e-30", 1e-30), ("1e6", 1e6),
        ("-0", -0.0), ("1e7", None), ("1e999", None), ("", None), ("x", None), ("nan", None), ("Infinity", None),
        ("1,000,000", None), ("1,000", None), ("0,125", 0.125), ("0x10", None), ("1 2", None), ("--1", None),
        (None, None), ("1e", None),
    ],
)  # fmt: skip
def test_what_is_typed_is_read_or_refused(typed: Any, value: float | None) -> None:
    driver = """const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const value = require(process.argv[1]).readNumber(given);
    console.log(JSON.stringify([value, Object.is(value, -0)]));"""
    found, negative_zero = in_node(driver, typed)
    assert found == value
    assert negative_zero == (value == 0 and math.copysign(1, value) < 0)


def test_figures_of_several_files_were_measured_on_the_same_terms() -> None:
    protocols = [json.loads((RECORDED / file).read_text(encoding="utf-8"))["protocol"] for file in FILES]
    for name in (
        "source",
        "evaluation_sha256",
        "windows",
        "eval_length",
        "length",
        "device",
        "threads",
        "dtype",
    ):
        assert len({protocol[name] for protocol in protocols}) == 1, name


def test_the_curve_of_how_far_never_falls() -> None:
    points = [p for p in figures()["points"] if p["seed"] in (0, None) and p["samples"] in (8, None)]
    dense = [p for p in points if p["method"] == "dense"]
    wanda = [
        p for p in points if (p["method"], p["pattern"], p["group"]) == ("wanda", "unstructured", "output")
    ]
    curve = [p["perplexity"] for p in dense + sorted(wanda, key=lambda p: p["sparsity"])]
    assert len(curve) == 7
    assert curve == sorted(curve)


def test_the_real_layer_is_cut_out_of_the_recorded_inspection() -> None:
    layer = figures()["layer"]
    inspection = recorded()
    rows, columns = layer["rows"], layer["columns"]
    weight, norms = (part[layer["name"]].astype(float) for part in (inspection.weights, inspection.norms))
    assert layer["shape"] == list(weight.shape)
    assert np.allclose(layer["weights"], weight[rows][:, columns], atol=1e-5)
    assert np.allclose(layer["norms"], norms[columns], atol=1e-3)
    by_row = np.abs(weight[rows]) * norms
    assert np.array_equal(layer["wanda"], (by_row > np.median(by_row, axis=1, keepdims=True))[:, columns])
    size = np.abs(weight)
    assert np.array_equal(layer["magnitude"], (size > np.median(size))[rows][:, columns])
