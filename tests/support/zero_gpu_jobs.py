"""Every job of the page on ZeroGPU, and what goes wrong there: run as a program, which prints a line of JSON for each
scenario. `SPACES_ZERO_GPU` and `SPACES_ZERO_DEVICE_API_URL` must be set."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

import tests.support.zero_gpu  # noqa: F401 - first of all
from components.cost.job import Measure, points_of
from components.inside.job import InspectLayers, other_recipe
from components.inside.opened_layer import open_layer
from components.jobs import runner
from components.jobs.job import Job, Put
from components.jobs.queue import Task, Worker
from components.questions.job import Ask
from components.speed.job import MeasureLatency
from components.take_away.job import Export
from components.text.job import Write
from components.workspace import models
from components.workspace.focus import Focus
from components.workspace.measured_rows import has_measured
from components.workspace.setup import Setup
from wanda_core import Recipe
from wanda_core.errors import check_stop
from wanda_core.speed import timing

timing.ROUNDS = 2  # quartiles need two; what is asked is whether it can be measured there

SETUP = Setup("pocket", "stories", "stories", samples=2, length=64, windows=2)
WANDA, MAGNITUDE = Recipe(method="wanda", sparsity=0.5), Recipe(method="magnitude", sparsity=0.5)
LAYER = "model.layers.1.mlp.down_proj"
WORKER = Worker()


@dataclass(frozen=True)
class Waits(Job):
    """Does nothing for a while, and says where it was fetched and computed."""

    file: str
    seconds: float = 0

    def fetch(self, put: Put) -> None:
        Path(self.file).write_text(str(os.getpid()))

    def compute(self, put: Put, stop: threading.Event) -> None:
        put({"computed": os.getpid(), "fetched": int(Path(self.file).read_text())})
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            check_stop(stop)
            time.sleep(0.05)


class Plain(pickle.Pickler):
    """Finds tensors: between processes each is a file descriptor that ends with its sender."""

    def reducer_override(self, value: Any) -> Any:
        assert not isinstance(value, torch.Tensor), "a tensor was sent"
        return NotImplemented


def start(job: Job, owner: str = "somebody") -> Task:
    return WORKER.join(owner, "view", job)


def wait(task: Task, seconds: float = 120) -> Task:
    until(lambda: task.over, seconds)
    return task


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def waits(seconds: float = 0) -> Waits:
    return Waits(str(Path(tempfile.mkdtemp()) / "pid"), seconds)


def jobs() -> dict[str, Job]:
    cache = tempfile.mkdtemp()
    return {
        "Measure": Measure(SETUP, points_of(SETUP, [WANDA, MAGNITUDE], [0])),
        "InspectLayers": InspectLayers(Focus(SETUP, WANDA), other_recipe(WANDA, "sparsegpt"), LAYER),
        "Write": Write(SETUP, (WANDA,), "Once upon a time", 8, 0.0, 1.0, 0, False),
        "MeasureLatency": MeasureLatency(SETUP, Recipe(method="magnitude", pattern="2:4")),
        "Export": Export(SETUP, WANDA, "masks", cache),
        "Ask": Ask(SETUP, (WANDA,), ("boolq",), 2),
    }


def job_named(name: str) -> dict[str, Any]:
    job = jobs()[name]
    task = wait(start(job))
    if task.outcome is not None:
        Plain(io.BytesIO()).dump(task.outcome)
    found = {"failure": task.failure, "found": task.outcome is not None}
    if name == "InspectLayers" and task.outcome is not None:
        inspection = task.outcome.inspection
        opened = open_layer(inspection, LAYER, inspection.recipes)
        found["opened"] = [list(opened.layer.weight.shape), list(opened.own)]
    return found | {"loaded_in_page": models.loaded("pocket") is not None}


def stop() -> dict[str, Any]:
    task = start(waits(60))
    until(lambda: task.outcome)
    began = time.monotonic()
    WORKER.leave("somebody")
    wait(task)
    seconds = time.monotonic() - began
    return {"seconds": seconds, "next": wait(start(waits())).outcome is not None}


def killed() -> dict[str, Any]:
    task = start(waits(60))
    until(lambda: task.outcome)
    began = time.monotonic()
    os.kill(task.outcome["computed"], signal.SIGKILL)
    after = wait(start(waits(), "another"))
    seconds = time.monotonic() - began
    return {"seconds": seconds, "said": wait(task).failure, "next": after.outcome is not None}


def parallel() -> dict[str, Any]:
    tasks = {owner: start(waits(60), owner) for owner in ("one", "two")}
    until(lambda: all(task.outcome for task in tasks.values()))
    both = not any(task.over for task in tasks.values())
    for owner, task in tasks.items():
        WORKER.leave(owner)
        wait(task)
    return {"both": both, "processes": len({task.outcome["computed"] for task in tasks.values()})}


def fetched() -> dict[str, Any]:
    outcome = wait(start(waits())).outcome
    return {
        "in_page": outcome["fetched"] == os.getpid(),
        "computed_in_page": outcome["computed"] == os.getpid(),
    }


def overdue() -> dict[str, Any]:
    """Asks for more than can be booked, and takes longer than that."""
    before = runner.ZERO_GPU_SECONDS
    runner.ZERO_GPU_SECONDS = runner.ZERO_GPU_MARGIN + 1
    for child in psutil.Process().children():  # those were forked with the usual limit
        child.kill()
    until(lambda: not psutil.Process().children())
    try:
        task = wait(start(waits(30)), 20)
    finally:
        runner.ZERO_GPU_SECONDS = before
        for child in psutil.Process().children():
            child.kill()
        until(lambda: not psutil.Process().children())  # else the next job may be sent to one of them
    return {"said": task.failure}


def seconds(rows: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(row["prune_seconds"], row["evaluate_seconds"]) for row in rows]


def again() -> dict[str, Any]:
    """The same measurement after its process has ended: seconds that were measured once more would differ."""
    first = wait(start(jobs()["Measure"])).outcome
    for child in psutil.Process().children():
        child.kill()
    until(lambda: not psutil.Process().children())
    second = wait(start(jobs()["Measure"])).outcome
    return {
        "known": [has_measured(SETUP, recipe) for recipe in (None, WANDA, MAGNITUDE)],
        "rows": len(first.rows),
        "same": seconds(first.rows) == seconds(second.rows),
    }


def quota() -> dict[str, Any]:
    return {"said": wait(start(waits())).failure}


def after_quota() -> dict[str, Any]:
    return {"next": wait(start(waits())).outcome is not None}


SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {
    **{name: lambda name=name: job_named(name) for name in jobs()},
    "stop": stop,
    "killed": killed,
    "parallel": parallel,
    "fetched": fetched,
    "overdue": overdue,
    "again": again,
    "quota": quota,
    "after_quota": after_quota,
}

if __name__ == "__main__":
    for line in sys.stdin:
        try:
            answer = SCENARIOS[line.strip()]()
        except BaseException:
            answer = {"broke": traceback.format_exc()}
        print("answer " + json.dumps(answer), flush=True)
    for child in psutil.Process().children():  # they and the threads of a Space never end by themselves
        child.kill()
    os._exit(0)
