"""EleutherAI's LM Evaluation Harness on a loaded model: the one module that imports it, see `zeroshot`."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import lm_eval.api.task
from huggingface_hub import constants, get_session
from huggingface_hub.errors import HTTPError
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from torch import Tensor
from tqdm import tqdm

from wanda_core.errors import Refused
from wanda_core.evaluation.zero_shot_tasks import TASKS, Task
from wanda_core.machine import refused_if_out_of_memory
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning
from wanda_core.texts.sources import quiet_load_dataset
from wanda_core.texts.windows import check_windows

BATCH = {"cpu": 4, "cuda": 32}
"""Answers in one forward."""


PROBE_SECONDS = 5.0
"""How long the Hub may take to answer before it counts as out of reach."""

# What is to be seen is said through our own progress; a server's log is not the place for it.
lm_eval.api.task.tqdm = partial(tqdm, disable=True)


logging.getLogger("lm_eval").setLevel(logging.ERROR)
OFFLINE = datasets.config.HF_HUB_OFFLINE
"""As the environment has it: two loads at once must not restore what the other has set for a while."""


class _Asked(HFLM):
    """The harness's view of a model that is loaded already.

    Args:
        on_share: called after every forward with the share of the answers that is weighed.
    """

    def __init__(self, model: LanguageModel, on_share: Callable[[float], None]) -> None:
        super().__init__(
            pretrained=model.network,
            backend="causal",
            # It is given a padding token, and ours is everybody's.
            tokenizer=copy.deepcopy(model.tokenizer),
            batch_size=BATCH[model.device.type],
        )
        self._on_share = on_share
        self._rows = self._expected = 0

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        self._rows, self._expected = 0, len(requests)
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def _model_call(self, inps: Tensor, *arguments: Any, **options: Any) -> Tensor:
        check_windows("a question", inps, self.model)
        logits = super()._model_call(inps, *arguments, **options)
        self._rows += len(inps)
        # One forward serves several answers of one token: fewer rows than answers.
        self._on_share(min(1.0, self._rows / self._expected))
        return logits


def ask(
    model: LanguageModel,
    prunings: Sequence[Pruning],
    name: str,
    task: Task,
    limit: int | None,
    on_share: Callable[[float], None],
    stop: threading.Event | None,
) -> tuple[tuple[bool, ...], ...]:
    """Put a task's first `limit` questions to the dense model and to every pruning.

    Returns:
        For each of them, whether it got each question right.

    Raises:
        Refused: the questions cannot be loaded, the task has no `acc` for each question, or memory ran out.
    """
    loaded = load(name, task)
    right = []
    for done, pruning in enumerate((None, *prunings)):

        def tell(share: float, done: int = done) -> None:
            on_share((done + share) / (1 + len(prunings)))

        asked = _Asked(model, tell)
        with (
            pruning.applied(model.prunable, stop) if pruning else model.prunable.alone(stop),
            refused_if_out_of_memory(
                f"out of memory on {model.device} while asking {name}: take a smaller model"
            ),
        ):
            samples = evaluate(asked, loaded, limit=limit, bootstrap_iters=0)["samples"][name]
        on_share((done + 1) / (1 + len(prunings)))
        if any("acc" not in sample for sample in samples):
            raise Refused(f"{name} has no accuracy for each question: a task with the metric `acc` is needed")
        samples.sort(key=lambda sample: sample["doc_id"])
        right.append(tuple(bool(sample["acc"]) for sample in samples))
    return tuple(right)


def load(name: str, task: Task) -> dict[str, Any]:
    """The task with its questions, as the harness's evaluation takes it.

    Raises:
        Refused: the questions cannot be loaded.
    """
    ours = isinstance(task, str)
    folders = [Path(lm_eval.__file__).parent / "tasks" / TASKS[task]] if isinstance(task, str) else None
    try:
        # Not the harness's thousands of tasks: to read all their names takes seconds.
        manager = TaskManager(include_defaults=False, include_path=folders)
        with quiet_load_dataset(), _from_cache_where_offline() if ours else nullcontext():
            loaded = manager.load([copy.deepcopy(task)])
    except ConnectionError as error:
        raise Refused(
            f"the Hub cannot be reached, and the questions of {name} are not in the local cache: check the network"
        ) from error
    except Exception as error:  # the harness, `datasets` and the Hub raise what has no common class
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Refused(f"could not load the questions of {name}: {reason}") from error
    for each in loaded["tasks"].values():
        each.set_config(key="num_fewshot", value=0)
    return loaded


@contextmanager
def _from_cache_where_offline() -> Iterator[None]:
    """Let `datasets` look into its cache alone where the Hub does not answer: it would try for half a minute first."""
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except (OSError, HTTPError):
        datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = OFFLINE
