"""The heavy work of a run, as a stream of events; the same code beside the page and in ZeroGPU's forked process.

Loaded models and finished results are kept here, in the process that computes: on ZeroGPU that is not the page's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from time import monotonic
from typing import Any

from components.job import Job
from components.settings import ASSETS, LIMITS
from components.store import Store
from wanda_core.errors import Refused, Stopped

ZERO_GPU = bool(os.environ.get("SPACES_ZERO_GPU"))


@dataclass
class Progress:
    """Where the work is."""

    doing: str
    share: float
    """Of the whole run, 0 to 1; a rough guide, as not all its parts take equally long."""


@dataclass
class Outcome:
    """What a run has measured so far; also the content of a recorded run."""

    protocol: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    layers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """For each pruned row, by `point_name`: block, kind, sparsity and error of every layer."""


@dataclass
class Failure:
    """Why the run as a whole ended early."""

    message: str


Event = Progress | Outcome | Failure

_models: Store[Any] = Store(LIMITS.shared_bytes, seconds=float("inf"))
_results: Store[tuple[dict[str, Any], Any]] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
_loading = threading.Lock()
"""Two loads at a time disturb each other: transformers switches to the meta device for all threads meanwhile."""
_heavy = threading.Lock()
"""Held by whoever computes: pruning and evaluation point the shared model at other weights for a while."""


def measure(job: Job) -> Iterator[Event]:
    """Run a job. Closing the generator stops the work at the next layer and leaves the models as they were."""
    events: SimpleQueue[Event | None] = SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        try:
            with _heavy:
                _compute(job, events.put, stop)
        except Refused as error:
            events.put(Failure(str(error)))
        except Stopped:
            pass
        except Exception as error:
            import torch

            if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(
                error
            ):
                events.put(Failure("out of memory: take a smaller model, fewer windows or a smaller window"))
            else:
                events.put(Failure(f"this should not happen ({type(error).__name__}): please report it"))
                raise
        finally:
            events.put(None)

    thread = threading.Thread(target=work, name="measure")
    thread.start()
    try:
        while (event := events.get()) is not None:
            yield event
    finally:
        stop.set()
        thread.join()


if ZERO_GPU:
    import spaces

    measure = spaces.GPU(duration=lambda job: min(120, 30 + 15 * len(job.recipes)))(measure)


def _compute(job: Job, put: Callable[[Event], None], stop: threading.Event) -> None:
    from wanda_core import calibration, experiments

    put(Progress("Loading the model", 0.0))
    model = shared_model(job.source)
    _check_context(model, job)
    put(Progress("Reading the texts", 0.02))
    evaluation = _read(job.evaluation, "evaluation", job)
    text = _read(job.calibration, "calibration", job)
    windows = calibration.evaluation_windows(
        calibration.encode(evaluation.text, model.tokenizer), job.windows, job.eval_length
    )
    after = windows.numel() if text.source == evaluation.source else 0
    tokens = calibration.calibration_windows(
        calibration.encode(text.text, model.tokenizer), job.samples, job.length, job.seed, after
    )
    texts = {
        "calibration": text.name,
        "calibration_after": after,
        "seed": job.seed,
        "evaluation": evaluation.name,
    }
    outcome = Outcome(experiments.protocol(model, tokens, windows, texts))
    base = (model.fingerprint, outcome.protocol["calibration_sha256"], outcome.protocol["evaluation_sha256"])
    keys = {point_name(None): base[::2], **{point_name(recipe): (*base, recipe) for recipe in job.recipes}}
    kept = {name: found for name, key in keys.items() if (found := _results.get(key))}
    began, last = monotonic(), 0.0

    def on_progress(doing: str, share: float, where: str) -> None:
        nonlocal last
        if monotonic() - began > LIMITS.seconds:
            raise Refused(
                f"longer than the {LIMITS.seconds:.0f} s a run may take here: take fewer or shorter windows"
            )
        if monotonic() - last > 0.1:
            last = monotonic()
            pruning = doing.startswith("pruning")
            # Dense is one evaluation; every recipe is a pruning and an evaluation.
            steps_done = 2 * len(outcome.rows) - bool(outcome.rows) + (bool(outcome.rows) and not pruning)
            put(Progress(f"{doing.capitalize()}: {where}", (steps_done + share) / (1 + 2 * len(job.recipes))))

    def on_row(row: dict[str, Any], pruning: Any) -> None:
        recipe = None if not outcome.rows else job.recipes[len(outcome.rows) - 1]
        name = point_name(recipe)
        if pruning is None and name in kept:
            pruning = kept[name][1]
        elif row["error"] is None:
            _results.put(keys[name], (row, pruning), 1000 + (pruning.nbytes if pruning else 0))
        outcome.rows.append(row)
        if pruning is not None:
            outcome.layers[name] = layer_figures(pruning)
        put(Outcome(outcome.protocol, list(outcome.rows), dict(outcome.layers)))

    experiments.compare(
        model,
        tokens,
        windows,
        job.recipes,
        known=[row for row, _ in kept.values()],
        on_row=on_row,
        on_progress=on_progress,
        stop=stop,
    )


def shared_model(source: str) -> Any:
    """The loaded model, dense and read-only, shared by everybody."""
    from wanda_core import models

    with _loading:
        model = _models.get(source)
        if model is None:
            model = models.load(source, most_bytes=LIMITS.model_bytes)
            _models.put(source, model, sum(p.numel() * p.element_size() for p in model.network.parameters()))
        return model


def warm_up() -> None:
    """Load the built-in model before the first visitor asks; not on ZeroGPU, where another process computes."""
    if not ZERO_GPU:
        threading.Thread(target=shared_model, args=("pocket",), name="warm-up", daemon=True).start()


def point_name(recipe: Any) -> str:
    """What a measured point is called on the page."""
    from wanda_core.experiments import describe

    return "dense" if recipe is None else describe(recipe)


def layer_figures(pruning: Any) -> list[dict[str, Any]]:
    """Block, kind, sparsity and error of every layer, in the model's order."""
    return [
        {"block": r.block, "kind": r.kind, "sparsity": round(r.sparsity, 5), "error": round(r.error, 5)}
        for r in pruning.reports
    ]


def _check_context(model: Any, job: Job) -> None:
    if model.context and job.length > model.context:
        raise Refused(
            f"{job.source} reads at most {model.context:,} tokens at a time: lower Tokens per window to that"
        )


def _read(name: str, role: str, job: Job) -> Any:
    """The text of that name for calibration or evaluation."""
    from wanda_core.calibration import Text, read_text

    if name == "stories":
        text = read_text(str(ASSETS / "pocket" / f"{role}.txt"), role)
        return replace(text, name=f"the built-in stories ({role} part)")
    if name == "own":
        return Text("your own text", job.own_text, "own")
    return read_text(name, role, characters=8 * LIMITS.tokens)
