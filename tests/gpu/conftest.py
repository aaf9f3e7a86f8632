"""A CUDA device for every test: the machine's own, or one that is simulated where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.conftest import DEVICE
from tests.support.simulated_device import SimulatedCuda


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCuda]:
    """A simulated machine, whatever this one has: it counts, and fails where it is told to."""
    with SimulatedCuda.named(DEVICE or "simulated:9.0") as machine:
        yield machine
        monkeypatch.undo()  # before the machine goes, whose functions would be put back otherwise


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The real device where there is one."""
    if torch.cuda.is_available():
        yield torch.device("cuda", 0)
        return
    with SimulatedCuda():
        yield torch.device("cuda", 0)
        monkeypatch.undo()
