"""The API: what the page does, as functions with named, typed arguments; the same checks, queue and limits.

Failures are errors, results are plain values: `gradio_client.Client(address).predict(..., api_name="/measure")`.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import gradio as gr

from components.display.names import control
from components.jobs.job import Job
from components.jobs.queue import Worker
from components.jobs.runner import import_engine
from wanda_core.errors import Refused

REFRESH = 0.1


async def outcome_of(worker: Worker, make_job: Any, values: dict[str, Any]) -> Any:
    """Put a job through the queue and wait for what it finds.

    Raises:
        gr.Error: an argument is wrong, or the job failed.
    """
    owner = secrets.token_urlsafe()
    try:
        await asyncio.to_thread(import_engine)
        job: Job = await asyncio.to_thread(make_job, values)
        task = worker.join(owner, "api", job)
    except Refused as error:
        raise gr.Error(error.told(control), print_exception=False) from error
    worker.watch(task)
    try:
        while not task.over:
            await asyncio.sleep(REFRESH)
    finally:
        worker.unwatch(task)
        worker.leave(owner)
    if task.failure is not None:
        raise gr.Error(Refused(task.failure).told(control), print_exception=False)
    if task.outcome is None:
        raise gr.Error("the run was stopped", print_exception=False)
    return task.outcome
