"""The API: what the views do, as functions with named, typed arguments, through the same checks, queue and limits.

Failures are errors, results are plain values: `gradio_client.Client(address).predict(..., api_name="/generate")`.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable
from time import monotonic
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from components.display.names import control
from components.jobs.job import Job
from components.jobs.queue import Worker
from components.jobs.runner import import_engine
from components.jobs.visitor import address_of, is_read
from components.workspace.defaults import DEFAULTS, default_text
from wanda_core.errors import Refused

REFRESH = 0.1


async def outcome_of(worker: Worker, make_job: Callable[[], Job]) -> Any:
    """Put a job through the queue and wait for what it finds.

    Raises:
        gr.Error: an argument is wrong, or the job failed.
    """
    owner = secrets.token_urlsafe()
    try:
        await asyncio.to_thread(import_engine)
        job = await asyncio.to_thread(make_job)
        task = worker.join(owner, "api", job, address=address_of(LocalContext.request.get(None)))
    except Refused as error:
        raise gr.Error(error.told(control), print_exception=False) from error
    worker.watch(task)
    try:
        while not task.over:
            if is_read():
                task.read_at = monotonic()
            await asyncio.sleep(REFRESH)
    finally:
        worker.unwatch(task)
        worker.leave(owner)
    if task.failure is not None:
        raise gr.Error(Refused(task.failure).told(control), print_exception=False)
    if task.outcome is None:
        raise gr.Error("the run was stopped", print_exception=False)
    return task.outcome


def panel_values(source: str, **named: Any) -> dict[str, Any]:
    """The panel's values by name: those that are named, else the defaults; a text left empty is the model's own."""
    text = default_text(source)
    values = DEFAULTS | {"source": source} | named
    for name in ("amounts", "methods", "bits"):
        if isinstance(values[name], tuple):
            values[name] = list(values[name])
    values["calibration"] = values.get("calibration") or text
    values["evaluation"] = values.get("evaluation") or text
    return values


def plain(value: Any) -> Any:
    """The same with None for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
