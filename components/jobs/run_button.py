"""From a click to the result: what the page shows while a job waits, works, ends or fails."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from time import monotonic
from typing import Any

import gradio as gr

from components.display.number_format import duration
from components.display.status_line import failed, ready, waiting, working
from components.jobs.job import Job
from components.jobs.queue import Task, Worker
from components.jobs.runner import import_engine
from wanda_core.errors import Refused

REFRESH = 0.2
"""Seconds between two looks at a running task."""


def on_click(
    worker: Worker,
    *,
    run: gr.Button,
    stop: gr.Button,
    status_line: gr.HTML,
    inputs: Sequence[gr.components.Component],
    outputs: Sequence[gr.components.Component],
    make_job: Callable[..., Job],
    update: Callable[[Any], list[Any]],
    api_name: str,
) -> None:
    """Let `run` start a job and `stop` end it; the visitor's earlier job, in whichever view, is left.

    Args:
        make_job: called with the values of `inputs`; checks them all, `Refused` where one is wrong.
        update: values for `outputs` from what the job has found so far.
    """
    idle = [gr.update(interactive=True), gr.update(interactive=False)]
    busy = [gr.update(interactive=False), gr.update(interactive=True)]
    keep = [gr.skip()] * len(outputs)

    async def follow(request: gr.Request, *values: Any) -> AsyncIterator[list[Any]]:
        visitor = request.session_hash or secrets.token_urlsafe()
        await asyncio.to_thread(import_engine)  # seconds, soon after the start
        try:
            task = worker.join(visitor, make_job(*values))
        except Refused as error:
            yield [failed(error), *idle, *keep]
            return
        try:
            shown = None
            while not task.over and visitor in task.visitors:
                outcome = task.outcome
                fresh = outcome is not None and outcome is not shown
                yield [_status(task, worker), *busy, *(update(outcome) if fresh else keep)]
                shown = outcome
                await asyncio.sleep(REFRESH)
            # Whole once more: who calls without a page gets the last message alone.
            last = update(task.outcome) if task.outcome is not None else keep
            yield [_ending(task, visitor), *idle, *last]
        finally:
            worker.leave(visitor, task)

    run.click(
        follow,
        list(inputs),
        [status_line, run, stop, *outputs],
        api_name=api_name,
        concurrency_limit=None,
        show_progress="hidden",
        preprocess=False,  # `make_job` checks what was sent, and says what is wrong with it
    )
    stop.click(leave_by(worker), queue=False, api_visibility="private")


def leave_by(worker: Worker) -> Callable[[gr.Request], None]:
    """A handler that gives up whatever the visitor asked for."""

    def leave(request: gr.Request) -> None:
        worker.leave(request.session_hash)

    return leave


def _status(task: Task, worker: Worker) -> str:
    place = worker.place(task)
    if place:
        return waiting(place)
    if task.progress is None:
        return working("Starting", 0.0, "")
    left = task.seconds_left()
    return working(
        task.progress.doing, task.progress.share, f"about {duration(left)} left" if left is not None else ""
    )


def _ending(task: Task, visitor: str) -> str:
    if visitor not in task.visitors:
        return ready("Stopped. What was measured before is kept.")
    if task.failure:
        return failed(task.failure)
    return ready(f"Done in {duration(monotonic() - task.started)}.")
