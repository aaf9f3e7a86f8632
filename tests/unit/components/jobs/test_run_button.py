"""Those who follow one task with the same settings share what is drawn of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pytest

from components.jobs import run_button
from components.jobs.job import Event, Job, Put
from components.jobs.queue import Worker

VISITORS = [letter * 24 for letter in "abc"]


@dataclass(frozen=True)
class Slow(Job):
    def compute(self, put: Put, stop: threading.Event) -> None:
        raise AssertionError("the worker's function does the work")


@pytest.mark.parametrize("colours", [("red", "red", "red"), ("red", "blue", "red")])
def test_followers_of_one_task_share_what_is_drawn(colours: tuple[str, str, str]) -> None:
    gates = [threading.Event() for _ in range(2)]
    drawn: list[tuple[Any, str]] = []

    def work(_: Job) -> Iterator[Event]:
        for number, gate in enumerate(gates):
            gate.wait(60)
            yield f"outcome {number}"

    def update(outcome: Any, values: dict[str, Any]) -> list[Any]:
        drawn.append((outcome, values["colour"]))
        return [gr.update(value=f"{outcome} in {values['colour']}")]

    with gr.Blocks(analytics_enabled=False) as demo:
        visitor, colour, picture = gr.BrowserState(None), gr.Textbox(), gr.HTML()
        button = run_button.lay_out("view", "Run", "", run_id="run", status_id="status")
        run_button.connect(
            Worker(work),
            button,
            visitor,
            inputs={"colour": colour},
            outputs=[picture],
            make_job=lambda values: Slow(),
            update=update,
            titles={},
        )
    run = next(fn.fn for fn in demo.fns.values() if (button.run._id, "click") in fn.targets)

    async def press(owner: str, chosen: str) -> list[str]:
        said = []
        async for message in run(None, owner, chosen):  # type: ignore[misc]
            shown = message[-1]
            if "value" in shown:
                said.append(shown.pop("value"))  # as gradio does
                gates[1].set()
        return said

    async def together() -> list[list[str]]:
        gates[0].set()
        return await asyncio.gather(*(press(*each) for each in zip(VISITORS, colours, strict=True)))

    for said, colour_of_it in zip(asyncio.run(together()), colours, strict=True):
        assert said[-1] == f"outcome 1 in {colour_of_it}"
        assert all(line.endswith(f"in {colour_of_it}") for line in said)
    if len(set(colours)) == 1:
        assert len(drawn) == len(set(drawn))
