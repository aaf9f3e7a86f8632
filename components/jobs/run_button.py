"""From a click to the result: what the page shows while a job waits, runs, ends or fails, also after a reload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from time import monotonic
from typing import Any

import gradio as gr
from gradio.events import Dependency

from components.display import status_line
from components.display.number_format import duration
from components.jobs.job import Job
from components.jobs.queue import PASSED, Task, Worker
from components.jobs.runner import import_engine
from components.jobs.visitor import address_of, is_read, owner_of
from wanda_core.errors import Refused

REFRESH = 0.2
"""Seconds between two looks at a running task."""
GAP = 0.05
"""Seconds between two messages to pages: gradio takes some milliseconds of the event loop for each, and others are to
be answered meanwhile."""

Values = dict[str, Any]
"""What controls hold, by their names."""


@dataclass
class RunButton:
    """Run, Stop, and what is said beside them."""

    view: str
    """Key of the view that it belongs to."""
    run: gr.Button
    stop: gr.Button
    status: gr.HTML
    ask: gr.Row
    after: gr.Button
    instead: gr.Button
    found: gr.Textbox
    """Filled when the page is loaded, where the browser has a task of that view."""


class Turns:
    """Lets those who follow jobs speak one after the other, `GAP` apart."""

    def __init__(self) -> None:
        self._next = 0.0

    async def take(self) -> None:
        """Wait for one's turn."""
        now = monotonic()
        at = max(now, self._next)
        self._next = at + GAP
        await asyncio.sleep(at - now)


TURNS = Turns()
"""Of the one event loop that all pages share."""


def lay_out(view: str, label: str, ready: str, *, run_id: str, status_id: str) -> RunButton:
    """Buttons and status line; `ready` is said before anything was asked."""
    with gr.Row(elem_classes="run-row"):
        run = gr.Button(label, variant="primary", min_width=100, elem_id=run_id)
        stop = gr.Button("Stop", interactive=False, min_width=80, elem_id=f"{run_id}-stop")
    with gr.Row(visible=False, elem_classes="run-row") as ask:
        after = gr.Button("After it", size="sm", min_width=80, elem_id=f"{run_id}-after")
        instead = gr.Button("Instead of it", size="sm", min_width=80, elem_id=f"{run_id}-instead")
    status = gr.HTML(status_line.ready(ready), elem_id=status_id)
    return RunButton(view, run, stop, status, ask, after, instead, gr.Textbox(visible="hidden"))


def connect(
    worker: Worker,
    button: RunButton,
    visitor: gr.BrowserState,
    *,
    inputs: Mapping[str, gr.components.Component],
    outputs: Sequence[gr.components.Component],
    make_job: Callable[[Values], Job],
    update: Callable[[Any, Values], list[Any]],
    titles: Mapping[str, str],
) -> None:
    """Let Run start a job and Stop end it, and show what was found by `find_tasks` on a reloaded page.

    Args:
        inputs: controls by name; `make_job` gets their values by these names, and refuses what is wrong.
        update: values for `outputs` from what the job has found so far, and the inputs' values (empty after a reload).
            Runs in a thread; must not change anything.
        titles: what each view is called, by its key.
    """
    keep = [gr.skip()] * len(outputs)

    async def start(values: Values, owner: str, address: str, mode: str) -> AsyncIterator[list[Any]]:
        await asyncio.to_thread(import_engine)  # seconds, soon after the start
        try:
            job = await asyncio.to_thread(make_job, values)
            other = worker.busy(owner, button.view) if mode == "ask" else None
            if other is not None:
                said = f"{titles.get(other, other)} is still running for you. Start this after it, or instead of it?"
                yield [status_line.ready(said), *_idle(), gr.update(visible=True), *keep]
                return
            task = worker.join(owner, button.view, job, address=address, instead=mode == "instead")
        except Refused as error:
            yield [status_line.failed(error), *_idle(), gr.update(visible=False), *keep]
            return
        async for shown in follow(task, owner, values):
            yield shown

    async def draw(task: Task, outcome: Any, values: Values) -> list[Any]:
        """What shows an outcome; drawn once for all who follow the task with the same settings."""
        if task.drawn is None or task.drawn[0] is not outcome or task.drawn[1] != values:
            task.drawn = (outcome, values, asyncio.ensure_future(asyncio.to_thread(update, outcome, values)))
        drawn = await asyncio.shield(task.drawn[2])
        return [copy(value) for value in drawn]  # gradio takes the values out of updates

    async def follow(task: Task, owner: str, values: Values) -> AsyncIterator[list[Any]]:
        worker.watch(task)
        try:
            said, shown = None, None
            hide: Any = gr.update(visible=False)
            buttons: list[Any] = _busy()
            while not task.over and owner in task.owners:
                if is_read():
                    task.read_at = monotonic()
                if _status(task, worker) != said or task.outcome is not shown:
                    await TURNS.take()
                outcome, now = task.outcome, _status(task, worker)
                fresh = outcome is not None and outcome is not shown
                if fresh or now != said:  # what is unchanged is not sent again
                    drawn = await draw(task, outcome, values) if fresh else keep
                    yield [now if now != said else gr.skip(), *buttons, hide, *drawn]
                    said, shown, hide, buttons = now, outcome, gr.skip(), [gr.skip(), gr.skip()]
                await asyncio.sleep(REFRESH)
            # Whole once more: who calls without a page gets the last message alone.
            await TURNS.take()
            outcome = task.outcome
            last = await draw(task, outcome, values) if outcome is not None else keep
            yield [_ending(task, owner), *_idle(), gr.update(visible=False), *last]
        finally:
            worker.unwatch(task)

    def handler(mode: str) -> Callable[..., AsyncIterator[list[Any]]]:
        async def handle(request: gr.Request, *values: Any) -> AsyncIterator[list[Any]]:
            owner, given = owner_of(values[0], request), dict(zip(inputs, values[1:], strict=True))
            async for shown in start(given, owner, address_of(request), mode):
                yield shown

        return handle

    shown = [button.status, button.run, button.stop, button.ask, *outputs]
    given = [visitor, *inputs.values()]
    common: dict[str, Any] = {
        "api_visibility": "private",
        "concurrency_limit": None,
        "show_progress": "hidden",
    }
    for control, mode in ((button.run, "ask"), (button.after, "after"), (button.instead, "instead")):
        # Unprocessed: `make_job` checks what was sent, and says what is wrong with it.
        control.click(handler(mode), given, shown, preprocess=False, **common)

    async def reattach(visitor: str | None, request: gr.Request) -> AsyncIterator[list[Any]]:
        owner = owner_of(visitor, request)
        task = worker.last(owner, button.view)
        if task is None:  # meanwhile forgotten; who yields nothing empties all outputs
            yield [gr.skip(), gr.skip(), gr.skip(), gr.skip(), *keep]
            return
        async for values in follow(task, owner, {}):
            yield values

    button.found.change(reattach, visitor, shown, **common)

    def leave(visitor: str | None, request: gr.Request) -> None:
        worker.leave(owner_of(visitor, request), button.view)

    button.stop.click(leave, visitor, queue=False, api_visibility="private")


def find_tasks(
    worker: Worker, opened: Dependency, visitor: gr.BrowserState, buttons: Sequence[RunButton]
) -> None:
    """When the page is loaded, look which views have a task: one event for all, as each takes the browser a while.

    Args:
        opened: the last event that does what a link says; what follows from these must not come after the results.
    """

    def find(visitor: str | None, request: gr.Request) -> list[Any]:
        owner = owner_of(visitor, request)
        return ["found" if worker.last(owner, button.view) else gr.skip() for button in buttons]

    opened.then(
        find,
        visitor,
        [button.found for button in buttons],
        api_visibility="private",
        show_progress="hidden",
    )


def _idle() -> list[Any]:
    return [gr.update(interactive=True), gr.update(interactive=False)]


def _busy() -> list[Any]:
    return [gr.update(interactive=False), gr.update(interactive=True)]


def _status(task: Task, worker: Worker) -> str:
    place = worker.place(task)
    if place:
        return status_line.waiting(place, task.passed < PASSED)
    if task.progress is None:
        return status_line.working("Starting", 0.0, "")
    left = task.seconds_left()
    said = f"about {duration(left)} left" if left is not None else ""
    return status_line.working(task.progress.doing, task.progress.share, said)


def _ending(task: Task, owner: str) -> str:
    if task.failure is not None:
        return status_line.failed(task.failure)
    if owner not in task.owners or task.started is None:
        return status_line.ready("Stopped. What was measured before is kept.")
    return status_line.ready(f"Done in {duration((task.ended or monotonic()) - task.started)}.")
