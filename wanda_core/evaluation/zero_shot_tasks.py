"""The seven zero-shot tasks of the Wanda paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the page lists the tasks before torch is there
    pass

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


Task = str | dict[str, Any]
"""A name in `TASKS`, or a task of one's own as the harness takes it."""
