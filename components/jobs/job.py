"""A job: heavy work that a visitor asks for, and the events by which it reports."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass
class Progress:
    """Where the work is."""

    doing: str
    share: float
    """Of the whole job, 0 to 1; a rough guide, as not all its parts take equally long."""


@dataclass
class Failure:
    """Why the job as a whole ended early."""

    message: str
    """May name settings in braces, as `Refused` does."""


Event = Progress | Failure | Any
"""Anything else is what the job has found so far, whole: the last one counts."""
Put = Callable[[Event], None]


class Job(ABC):
    """Heavy work that a visitor asks for: a frozen dataclass of plain values that were checked. Equal jobs are computed
    once, and a job can be sent to another process."""

    overdue: ClassVar[str] = "ask for less"
    """What to do where it takes longer than it may."""

    @property
    def gpu_seconds(self) -> float:
        """Time to book on ZeroGPU; also what tells short jobs from long ones in the queue."""
        return 60

    def fetch(self, put: Put) -> None:  # noqa: B027 - most jobs have nothing to fetch
        """Get what comes from elsewhere (a model, a text), before the machine is needed alone. May be left behind when
        it takes too long or nobody wants it any more."""

    @abstractmethod
    def compute(self, put: Put, stop: threading.Event) -> None:
        """Do the work, alone on the machine.

        Args:
            put: takes events, at least one for each layer or token.
            stop: once it is set, end soon with `Stopped`.
        """
