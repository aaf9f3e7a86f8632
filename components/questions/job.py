"""The job that asks zero-shot questions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.display.names import name, point
from components.jobs.job import Job, Progress, Put
from components.request_checks import whole
from components.workspace.beside import side_by_side
from components.workspace.experiment import fetch, prepare
from components.workspace.prunings import prunings_of
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.evaluation.zero_shot import fetch_questions, zero_shot
from wanda_core.evaluation.zero_shot_answers import Answers
from wanda_core.evaluation.zero_shot_tasks import TASKS
from wanda_core.method.recipe import Recipe

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

    def fetch(self, put: Put) -> None:
        fetch(self.setup, put)
        for task in self.tasks:
            put(Progress(f"Fetching the questions of {NAMES[task][0]}", 0.0))
            fetch_questions(task)

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


def check(values: Mapping[str, object]) -> Ask:
    """What the view asks for, from what its controls hold, by name.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    tasks = values.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, str) and task in TASKS for task in tasks):
        raise Refused("choose tasks from the list")
    if not tasks:
        raise Refused("choose at least one task")
    limit = whole("Questions of each task", values.get("limit"), 1, MOST_QUESTIONS)
    setup, recipes = side_by_side(values)
    return Ask(setup, recipes, tuple(dict.fromkeys(tasks)), limit)
