"""Zero-shot questions: how many does each model still get right? A section of the Text view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from components.display.status_line import ready
from components.jobs.queue import Worker
from components.jobs.run_button import on_click
from components.zero_shot.job import NAMES, check
from components.zero_shot.report import show
from wanda_core.evaluation.zero_shot_tasks import TASKS


@dataclass
class QuestionsSection:
    """The components of the section; `inputs` in the order of `check` after the sources."""

    inputs: list[gr.components.Component]
    ask: gr.Button
    stop: gr.Button
    status_line: gr.HTML
    scores: gr.HTML


def build() -> QuestionsSection:
    """Lay the section out."""
    gr.HTML(
        '<p class="hint">Questions with a few answers to choose from: a model has answered right when it holds the '
        "right one for the likeliest. The seven tasks of the Wanda paper, asked by EleutherAI's LM Evaluation Harness, "
        "without examples; they come from the Hub. The dense model and the methods chosen in the recipe (up to three) "
        "get the same questions.</p>"
    )
    tasks = gr.CheckboxGroup(
        [(f"{label} · {what}", task) for task, (label, what) in NAMES.items()],
        value=list(TASKS),
        label="Tasks",
        elem_id="tasks",
    )
    limit = gr.Number(
        50, label="Questions of each task", info="The first so many.", precision=0, elem_id="limit"
    )
    with gr.Row():
        ask = gr.Button("Ask", variant="primary", min_width=100, elem_id="ask")
        stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="stop-asking")
    status_line = gr.HTML(
        ready("Ready. 50 questions of each task take minutes on a CPU."), elem_id="questions-status"
    )
    return QuestionsSection([tasks, limit], ask, stop, status_line, gr.HTML(elem_id="scores"))


def connect(
    worker: Worker,
    section: QuestionsSection,
    panel_inputs: Sequence[gr.components.Component],
    sources: Sequence[str],
) -> None:
    """Let Ask and Stop work."""
    on_click(
        worker,
        run=section.ask,
        stop=section.stop,
        status_line=section.status_line,
        inputs=[*section.inputs, *panel_inputs],
        outputs=[section.scores],
        make_job=lambda *values: check(sources, *values),
        update=lambda scores: [show(scores)],
        api_name="ask",
    )
