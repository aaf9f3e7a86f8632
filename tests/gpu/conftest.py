"""A CUDA device for every test: the machine's own, or one that is simulated where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.conftest import DEVICE
from tests.support.simulated_device import SimulatedCuda


@pytest.fixture
def machine() -> Iterator[SimulatedCuda]:
    """A simulated machine, whatever this one has: it counts, and fails where it is told to."""
    with SimulatedCuda.named(DEVICE or "simulated:9.0") as machine:
        yield machine


@pytest.fixture
def cuda() -> Iterator[torch.device]:
    """The real device where there is one."""
    if torch.cuda.is_available():
        yield torch.device("cuda", 0)
        return
    with SimulatedCuda():
        yield torch.device("cuda", 0)
