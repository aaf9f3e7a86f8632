"""Zero-shot questions: how often is the right answer the likeliest, dense and pruned, on the same questions?

Asked by EleutherAI's LM Evaluation Harness, which is an extra: `pip install lm-eval==0.4.13`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wanda_core.errors import Refused, check_stop

if TYPE_CHECKING:  # the page lists the tasks before torch is there
    from wanda_core.models.language_model import LanguageModel
    from wanda_core.pruning.result import Pruning
from wanda_core.evaluation.zero_shot_answers import Answers
from wanda_core.evaluation.zero_shot_tasks import TASKS, Task

OnAnswers = Callable[[Answers], None]


OnProgress = Callable[[float, str], None]
"""Called with the share done and what is being asked."""


def zero_shot(
    model: LanguageModel,
    prunings: Sequence[Pruning],
    tasks: Sequence[Task] = tuple(TASKS),
    limit: int | None = None,
    *,
    on_answers: OnAnswers | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[Answers]:
    """Ask the dense model and every pruning of it the same questions, without examples and without a chat template.

    Args:
        tasks: names in `TASKS`, or the harness's dicts, of multiple choice and with the metric `acc`.
        limit: the first so many questions of each task; None: all.
        on_answers: called with each task's answers as they are there.

    Returns:
        Answers for every task. One whose questions cannot be loaded has the reason in `error`; the others go on.

    Raises:
        Refused: the harness is not installed, or an argument is wrong.
        Stopped: `stop` was set; `on_answers` has seen all tasks finished until then.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise Refused("Questions must be a whole number, 1 or more")
    if not tasks or any(isinstance(task, str) and task not in TASKS for task in tasks):
        raise Refused(f"choose among the tasks {', '.join(TASKS)}")
    names = [task if isinstance(task, str) else task["task"] for task in tasks]
    harness = _harness()
    found = []
    with model.prunable.stoppable(stop):
        for index, (name, task) in enumerate(zip(names, tasks, strict=True)):
            check_stop(stop)

            def tell(share: float, before: int = index, name: str = name) -> None:
                if on_progress:
                    on_progress((before + share) / len(tasks), name)

            tell(0)
            try:
                answers = Answers(name, harness.ask(model, prunings, name, task, limit, tell, stop))
            except Refused as error:
                answers = Answers(name, error=str(error))
            found.append(answers)
            if on_answers:
                on_answers(answers)
    return found


def fetch_questions(task: str) -> None:
    """Get a task's questions into the local cache, where they are not; one that cannot be had says so when it is asked.

    Args:
        task: a name in `TASKS`.

    Raises:
        Refused: the harness is not installed.
    """
    harness = _harness()
    with suppress(Refused):
        harness.load(task, task)


def _harness() -> Any:
    """What touches the harness's library, which is imported when first used."""
    try:
        from wanda_core.evaluation import harness
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "lm_eval":
            raise
        raise Refused(
            "zero-shot questions need EleutherAI's harness: install it by `pip install lm-eval==0.4.13`"
        ) from error
    return harness
