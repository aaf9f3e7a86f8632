"""From the click on Run to the result: what the page shows while a run waits, works, ends or fails."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any

import gradio as gr

from components import recipe_panel, results
from components.job import check_job
from components.recipe_panel import RecipePanel
from components.results import ResultsView
from components.words import duration
from components.worker import Task, Worker
from wanda_core.errors import Refused

REFRESH = 0.2
"""Seconds between two looks at a running task."""


def connect(
    demo: gr.Blocks, panel: RecipePanel, view: ResultsView, sources: Sequence[str], worker: Worker
) -> None:
    """Bind Run, Stop and leaving the page."""
    idle = [gr.update(interactive=True), gr.update(interactive=False)]
    busy = [gr.update(interactive=False), gr.update(interactive=True)]
    keep = [gr.skip()] * len(view.all())

    async def run(request: gr.Request, *values: Any) -> AsyncIterator[list[Any]]:
        visitor = request.session_hash or secrets.token_urlsafe()
        try:
            task = worker.join(visitor, check_job(values[0], sources, *values[1:]))
        except Refused as error:
            yield [recipe_panel.failed(str(error)), *idle, *keep]
            return
        try:
            shown = None
            while not task.over and visitor in task.visitors:
                outcome = task.outcome
                fresh = outcome is not None and outcome is not shown
                yield [_status(task, worker), *busy, *(results.update(outcome) if fresh else keep)]
                shown = outcome
                await asyncio.sleep(REFRESH)
            last = (
                results.update(task.outcome)
                if task.outcome is not None and task.outcome is not shown
                else keep
            )
            yield [_ending(task, visitor), *idle, *last]
        finally:
            worker.leave(visitor, task)

    def stop(request: gr.Request) -> None:
        worker.leave(request.session_hash)

    panel.run.click(
        run,
        panel.inputs,
        [panel.status, panel.run, panel.stop, *view.all()],
        api_name="run",
        concurrency_limit=None,
        show_progress="hidden",
    )
    panel.stop.click(stop, queue=False, api_visibility="private")
    demo.unload(stop)


def _status(task: Task, worker: Worker) -> str:
    place = worker.place(task)
    if place:
        return recipe_panel.waiting(place)
    if task.progress is None:
        return recipe_panel.working("Starting", 0.0, "")
    left = task.seconds_left()
    return recipe_panel.working(
        task.progress.doing, task.progress.share, f"about {duration(left)} left" if left is not None else ""
    )


def _ending(task: Task, visitor: str) -> str:
    if visitor not in task.visitors:
        return recipe_panel.done("Stopped. What was measured before is kept.")
    if task.failure:
        return recipe_panel.failed(task.failure)
    return recipe_panel.done(f"Done in {duration(monotonic() - task.started)}.")
