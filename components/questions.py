"""Zero-shot questions: how many does each model still get right? A section of the Text view."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from components import follow, status
from components.engine import Job, Progress, Put
from components.job import Setup, check_beside, whole
from components.subject import prepare, prunings_of
from components.words import name, point
from components.worker import Worker
from wanda_core.errors import Refused
from wanda_core.recipe import Recipe
from wanda_core.zeroshot import TASKS, Answers, Share, mean, zero_shot

NAMES = {
    "boolq": ("BoolQ", "yes or no, after a passage"),
    "rte": ("RTE", "does one sentence follow from another?"),
    "hellaswag": ("HellaSwag", "how does the scene go on?"),
    "winogrande": ("WinoGrande", "who or what is meant?"),
    "arc_easy": ("ARC easy", "science at school"),
    "arc_challenge": ("ARC challenge", "the hard part of it"),
    "openbookqa": ("OpenBookQA", "elementary facts, applied"),
}
MOST_QUESTIONS = 5_000
PRUNING = 0.2
"""Share of the progress bar that making the prunings takes."""


@dataclass
class Scores:
    """What is answered so far."""

    protocol: dict[str, Any]
    models: list[str]
    """`Dense`, then what each pruning is called."""
    answers: list[Answers] = field(default_factory=list)


@dataclass(frozen=True)
class Ask(Job):
    """Ask the dense model and every recipe's pruning the same questions."""

    setup: Setup
    recipes: tuple[Recipe, ...]
    tasks: tuple[str, ...]
    limit: int

    @property
    def gpu_seconds(self) -> float:
        return 30 + 15 * len(self.recipes) + 10 * len(self.tasks)

    def compute(self, put: Put, stop: threading.Event) -> None:
        subject = prepare(self.setup, put)
        prunings = prunings_of(subject, self.recipes, put, stop, share=PRUNING)
        models = [name("dense"), *(point(recipe.as_dict()) for recipe in self.recipes)]
        answers: list[Answers] = []

        def on_progress(share: float, task: str) -> None:
            put(Progress(f"Asking {NAMES[task][0]}", PRUNING + (1 - PRUNING) * share))

        def on_answers(found: Answers) -> None:
            answers.append(found)
            put(Scores(subject.protocol, models, list(answers)))

        zero_shot(
            subject.model,
            prunings,
            self.tasks,
            self.limit,
            on_answers=on_answers,
            on_progress=on_progress,
            stop=stop,
        )


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
        status.ready("Ready. 50 questions of each task take minutes on a CPU."), elem_id="questions-status"
    )
    return QuestionsSection([tasks, limit], ask, stop, status_line, gr.HTML(elem_id="scores"))


def connect(
    worker: Worker,
    section: QuestionsSection,
    panel_inputs: Sequence[gr.components.Component],
    sources: Sequence[str],
) -> None:
    """Let Ask and Stop work."""
    follow.on_click(
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


def check(sources: Sequence[str], tasks: object, limit: object, *panel: object) -> Ask:
    """What the section asks for, from what the page sends.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    if not isinstance(tasks, list) or not all(isinstance(task, str) and task in TASKS for task in tasks):
        raise Refused("choose tasks from the list")
    if not tasks:
        raise Refused("choose at least one task")
    limit = whole("Questions of each task", limit, 1, MOST_QUESTIONS)
    setup, recipes = check_beside(sources, *panel)
    return Ask(setup, recipes, tuple(dict.fromkeys(tasks)), limit)


def show(scores: Scores) -> str:
    """A table of accuracies and of what each pruning lost, and how they were measured."""
    protocol = scores.protocol
    head = "".join(f"<th>{escape(model)}</th>" for model in scores.models)
    answered = [answers for answers in scores.answers if not answers.error]
    body = "".join(_row(answers, len(scores.models)) for answers in scores.answers)
    if len(answered) > 1:
        body += _mean_row(answered, len(scores.models))
    return (
        f'<p class="label">Measured here, now, on <b>{escape(str(protocol["source"]))}</b></p>'
        '<div class="scroll" tabindex="0"><table class="results"><thead><tr><th>Task</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
        '<p class="hint">Share of the questions answered right. Below it, what pruning changed on the very same '
        "questions, in percentage points. In brackets 95% intervals: Wilson's for a share, Agresti and Min's for a "
        "paired difference. <b>Bold</b>: the interval does not hold 0, so more than chance.</p>"
        f'<div class="protocol"><p>The first questions of each task, no examples, no chat template, '
        f"{escape(protocol['device'])}, {protocol['dtype']}. Pruned after {protocol['samples']} windows of "
        f"{protocol['length']} tokens of {escape(protocol['calibration'])}.</p></div>"
    )


def _row(answers: Answers, models: int) -> str:
    label = escape(NAMES.get(answers.task, (answers.task,))[0])
    if answers.error:
        return f'<tr><th>{label}</th><td class="failed" colspan="{models}">{escape(answers.error)}</td></tr>'
    cells = [_cell(answers.accuracy(0), None)]
    cells += [_cell(answers.accuracy(m), answers.difference(m)) for m in range(1, models)]
    return f"<tr><th>{label} <small>{answers.questions} questions</small></th>{''.join(cells)}</tr>"


def _mean_row(answered: list[Answers], models: int) -> str:
    cells = [_cell(mean([a.accuracy(0) for a in answered]), None)]
    for model in range(1, models):
        accuracy = mean([a.accuracy(model) for a in answered])
        cells.append(_cell(accuracy, mean([a.difference(model) for a in answered])))
    return f"<tr><th>Mean <small>of {len(answered)} tasks</small></th>{''.join(cells)}</tr>"


def _cell(accuracy: Share, difference: Share | None) -> str:
    cell = f"{accuracy.value:.1%} <small>({accuracy.low:.0%} to {accuracy.high:.0%})</small>"
    if difference is not None:
        change = f"{100 * difference.value:+.1f}"
        if difference.low > 0 or difference.high < 0:
            change = f"<b>{change}</b>"
        cell += f"<br>{change} <small>({100 * difference.low:+.1f} to {100 * difference.high:+.1f})</small>"
    return f"<td>{cell}</td>"
