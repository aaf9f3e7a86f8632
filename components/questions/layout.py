"""Zero-shot questions: how many does each model still get right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr

from components.display.names import NAMES as METHOD_NAMES
from components.display.names import name
from components.jobs import run_button
from components.page import api
from components.page.link_settings import some_of, whole
from components.page.view import Page, View
from components.questions.job import MOST_QUESTIONS, NAMES, Ask, check
from components.questions.report import show
from components.recipe.request import named_focus
from wanda_core.evaluation.zero_shot_tasks import TASKS
from wanda_core.method.methods import METHODS


class Questions(View):
    """The paper's seven tasks, asked of the dense model, the point in focus and the methods beside it."""

    key = "questions"
    title = "Questions"

    def build(self, sources: Sequence[str]) -> None:
        gr.HTML(
            '<p class="hint">Questions with a few answers to choose from: an answer is correct when the model ranks '
            "it as most likely. The seven tasks of the Wanda paper come from the Hub and are asked by EleutherAI's LM "
            "Evaluation Harness, without examples.</p>"
        )
        self.form.add(
            "tasks",
            gr.CheckboxGroup(
                [(f"{label} · {what}", task) for task, (label, what) in NAMES.items()],
                value=list(TASKS),
                label="Tasks",
                elem_id="tasks",
                elem_classes="chips",
            ),
            some_of(list(TASKS)),
        )
        with gr.Row():
            self.form.add(
                "limit",
                gr.Number(
                    50,
                    label="Questions of each task",
                    info="Takes the first N of each task.",
                    precision=0,
                    min_width=160,
                    elem_id="limit",
                ),
                whole(1, MOST_QUESTIONS),
            )
            self.beside = gr.CheckboxGroup(
                [(name(method), method) for method in METHODS if method in METHOD_NAMES],
                value=["magnitude"],
                label="Beside the point in focus (up to two)",
                min_width=260,
                elem_id="ask-beside",
                elem_classes="chips",
            )
            self.form.add("ask_beside", self.beside, some_of(list(METHODS)))
        self.button = run_button.lay_out(
            self.key,
            "Ask",
            "Ready. 50 questions of each task take minutes on a CPU.",
            run_id="ask",
            status_id="questions-status",
        )
        self.scores = gr.HTML(elem_id="scores")

    def connect(self, page: Page, tab: gr.Tab) -> None:
        page.compare_with_another(self.beside)
        page.on_run(
            self.button,
            form=self.form,
            outputs=[self.scores],
            make_job=lambda values: check(values | {"beside": values.get("ask_beside", [])}),
            update=lambda scores, values: [show(scores)],
        )

        async def ask(
            tasks: list[str],
            source: str = page.sources[0],
            method: str = "wanda",
            amount: str = "50",
            limit: int = 50,
            calibration: str = "",
            own_text: str = "",
            samples: int = 4,
            length: int = 256,
        ) -> dict[str, Any]:
            """Ask the dense model and its pruning zero-shot questions.

            Args:
                tasks: of boolq, rte, hellaswag, winogrande, arc_easy, arc_challenge, openbookqa.
                source: a model on offer, or a Hub id.
                method: of the pruning.
                amount: per cent, such as 50, or a pattern, such as 2:4.
                limit: questions of each task.
                calibration: stories, pydoc, wikitext2, c4 or own; empty: the model's own.
                own_text: the text for own.
                samples: calibration windows.
                length: tokens of a window.

            Returns:
                protocol, models, and the answers to each task.
            """

            def job() -> Ask:
                values = api.panel_values(
                    source, calibration=calibration, own_text=own_text, samples=samples, length=length
                )
                focus = named_focus(f"{method}-{amount}", values, page.sources)
                return check({"focus": focus, "tasks": tasks, "limit": limit})

            scores = await api.outcome_of(page.worker, job)
            answers = [asdict(each) for each in scores.answers]
            return api.plain({"protocol": scores.protocol, "models": scores.models, "answers": answers})

        gr.api(ask, api_name="ask", concurrency_limit=None)
