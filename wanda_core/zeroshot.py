"""Zero-shot questions: how often is the right answer the likeliest, dense and pruned, on the same questions?

Asked by EleutherAI's LM Evaluation Harness, which is an extra: `pip install lm-eval==0.4.13`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wanda_core.errors import Refused, check_stop

if TYPE_CHECKING:  # the page lists the tasks before torch is there
    from wanda_core.models import LanguageModel
    from wanda_core.pruning import Pruning

TASKS = {
    "boolq": "super_glue/boolq",
    "rte": "glue/rte",
    "hellaswag": "hellaswag",
    "winogrande": "winogrande",
    "arc_easy": "arc",
    "arc_challenge": "arc",
    "openbookqa": "openbookqa",
}
"""The seven tasks of the Wanda paper, and the harness's folder with each. Measured by `acc`, as there."""
NINETY_FIVE = 1.96
"""Standard errors on either side of a 95% interval."""
Task = str | dict[str, Any]
"""A name in `TASKS`, or a task of one's own as the harness takes it."""


@dataclass(frozen=True)
class Share:
    """A share with a 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Answers:
    """One task: which questions the dense model and every pruning got right."""

    task: str
    right: tuple[tuple[bool, ...], ...] = ()
    """For the dense model and then every pruning, for each question in the same order."""
    error: str | None = None
    """Why the task could not be asked; `right` is empty then."""

    @property
    def questions(self) -> int:
        return len(self.right[0]) if self.right else 0

    def accuracy(self, model: int) -> Share:
        """Share of questions answered right (0: the dense model, then the prunings), with Wilson's interval."""
        from scipy.stats import binomtest  # comes with the harness

        right = sum(self.right[model])
        interval = binomtest(right, self.questions).proportion_ci(method="wilson")
        return Share(right / self.questions, float(interval.low), float(interval.high))

    def difference(self, model: int) -> Share:
        """Accuracy of a pruning (1, ...) minus the dense model's, paired by question.

        The interval is Agresti and Min's for matched pairs (Statistics in Medicine 24, 2005): Wald's, after half a
        question is added to each of the four ways in which two models can answer one.
        """
        pairs = list(zip(self.right[0], self.right[model], strict=True))
        lost = sum(dense and not pruned for dense, pruned in pairs)
        won = sum(pruned and not dense for dense, pruned in pairs)
        count = self.questions + 2
        value = (won - lost) / count
        spread = math.sqrt((won + lost + 1) / count - value**2) / math.sqrt(count)
        low, high = value - NINETY_FIVE * spread, value + NINETY_FIVE * spread
        return Share((won - lost) / self.questions, max(-1.0, low), min(1.0, high))


def mean(shares: Sequence[Share]) -> Share:
    """Mean of the tasks' shares or differences, each task counting the same, as in the paper's tables.

    The interval is put together from theirs by the method of variance estimates recovery (Zou and Donner, Statistics
    in Medicine 27, 2008): the distances from the middle to either end add up as independent errors do.
    """
    count = len(shares)
    middle = sum(share.value for share in shares) / count
    below = math.hypot(*(share.value - share.low for share in shares)) / count
    above = math.hypot(*(share.high - share.value for share in shares)) / count
    return Share(middle, middle - below, middle + above)


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
        Answers for every task. One whose questions cannot be had has the reason in `error`; the others go on.

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
    with model.anatomy.stoppable(stop):
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


def _harness() -> Any:
    """What touches the harness's library, which is imported when first used."""
    try:
        from wanda_core import harness
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "lm_eval":
            raise
        raise Refused(
            "zero-shot questions need EleutherAI's harness: install it by `pip install lm-eval==0.4.13`"
        ) from error
    return harness
