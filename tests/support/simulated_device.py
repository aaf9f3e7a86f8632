"""A CUDA device that is not there: what would go wrong on one goes wrong here, and results are the CPU's to the bit.

Tensors stay in host memory; their *storages* are marked with the device that they count as being on, so that views,
`.data =` and `data_ptr` simply work. A function mode answers for `device` and `is_cuda`, copies at `.to`, `.cuda` and
`.cpu`, and refuses what CUDA tensors cannot do. A dispatch mode refuses operations over several devices and lets
results inherit the mark. It shows which device each tensor is on, when the host waits and what memory is taken; it
shows nothing of kernels, speed, rounding or fragmentation.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from tests.support.simulated_card import Card, face
from tests.support.simulated_modes import CPU, Dispatch, Functions
from tests.support.simulated_two_four import registered

ROOT = Path(__file__).parents[2]


class SimulatedCuda:
    """A machine with CUDA devices, inside the `with`; also for threads that are started inside. One inside another
    takes its place.

    Args:
        capability: compute capability of the devices.
        devices: how many there are.
        memory: bytes of each.
        cusparselt: whether this build of torch has cuSPARSELt.
    """

    _active: SimulatedCuda | None = None

    def __init__(
        self,
        capability: tuple[int, int] = (9, 0),
        devices: int = 2,
        memory: int = 80 * 2**30,
        cusparselt: bool = True,
    ) -> None:
        self.capability = capability
        self.name = f"simulated GPU {capability[0]}.{capability[1]}"
        self.cusparselt = cusparselt
        self.cards = [Card(index, memory) for index in range(devices)]
        self.waits: Counter[tuple[str, str]] = Counter()
        """How often the host waited, by `file.py:line` and kind: `scalar`, `size`, `copy` (to the host), `explicit`."""
        self.crossed: Counter[tuple[str, str]] = Counter()
        """Bytes that crossed, by `file.py:line` and `to host`, `to device` or `between devices`."""
        self.capturing: Any = None
        self.current: Callable[[Any], int] = lambda device=None: 0
        self._marks: dict[int, tuple[weakref.ref, int, int]] = {}
        self._lock = threading.RLock()
        self._entered = ExitStack()
        self._outer: SimulatedCuda | None = None

    @classmethod
    def named(cls, name: str, memory: int = 80 * 2**30) -> SimulatedCuda:
        """`simulated:9.0`: by compute capability."""
        major, minor = name.removeprefix("simulated:").split(".")
        return cls((int(major), int(minor)), memory=memory)

    def __enter__(self) -> SimulatedCuda:
        self._outer, SimulatedCuda._active = SimulatedCuda._active, self
        if self._outer is not None:
            self._outer._leave()
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        SimulatedCuda._active = self._outer
        if self._outer is not None:
            self._outer._enter()

    def _enter(self) -> None:
        with ExitStack() as entered:
            entered.enter_context(patch.multiple(torch.cuda, **face(self)))
            entered.enter_context(patch.object(torch.version, "cuda", "12.8"))
            entered.enter_context(
                patch.object(torch.backends.cusparselt, "is_available", lambda: self.cusparselt)
            )
            library = registered(self)
            entered.callback(library._destroy)
            entered.enter_context(patch.object(threading.Thread, "start", _starting(self)))
            entered.enter_context(self.here())
            self._entered = entered.pop_all()

    def _leave(self) -> None:
        self._entered.close()

    @contextmanager
    def here(self) -> Iterator[None]:
        """Both modes, which belong to a thread, for this one."""
        now = SimpleNamespace(target=None, ambient=CPU)
        with Dispatch(self, now), Functions(self, now):
            yield

    def index_of(self, device: Any) -> int:
        """Place that a device stands for: a `torch.device`, its name or its number."""
        device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        if device.type != "cuda":
            return CPU
        index = self.current() if device.index is None else device.index
        if index >= len(self.cards):
            raise torch.AcceleratorError("CUDA error: invalid device ordinal")
        return index

    def place_of(self, tensor: Tensor) -> int:
        """Where a tensor is: a device's index, or `CPU`."""
        packed = getattr(tensor, "packed", None)  # of a 2:4 tensor, which has no storage of its own
        mark = self._marks.get((tensor if packed is None else packed).untyped_storage()._cdata)
        return CPU if mark is None else mark[1]

    def mark(self, tensor: Tensor, place: int) -> None:
        """Count a fresh tensor as being on a device; its memory is taken there until its storage dies."""
        if place == CPU or tensor.is_meta or getattr(tensor, "packed", None) is not None:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        with self._lock:
            if key in self._marks:
                return
            taken = self.cards[place].take(storage.nbytes())
            self._marks[key] = (weakref.ref(storage, lambda _: self._forget(key)), place, taken)

    def _forget(self, key: int) -> None:
        with self._lock:
            _, place, taken = self._marks.pop(key)
            self.cards[place].release(taken)

    def note(self, kind: str) -> None:
        """The host waits for a device."""
        if self.capturing is not None:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        self.waits[_line(), kind] += 1

    def note_crossing(self, source: int, target: int, size: int) -> None:
        if source == target:
            return
        way = (
            "between devices" if CPU not in (source, target) else "to host" if target == CPU else "to device"
        )
        self.crossed[_line(), way] += size
        if target == CPU:
            self.note("copy")


def _line() -> str:
    """The innermost line of the project that is being run, `file.py:number`, tests last."""
    frame = sys._getframe(1)
    outside = ""
    while frame is not None:
        file = frame.f_code.co_filename
        # An environment may lie within the project: what is installed in it is not the project's.
        ours = file.startswith(str(ROOT)) and "/site-packages/" not in file
        if ours and "/tests/support/simulated" not in file:
            name = f"{Path(file).relative_to(ROOT)}:{frame.f_lineno}"
            if not name.startswith("tests/"):
                return name
            outside = outside or name
        frame = frame.f_back
    return outside


def _starting(machine: SimulatedCuda) -> Callable[[threading.Thread], None]:
    start = threading.Thread.start

    def start_inside(thread: threading.Thread) -> None:
        run = thread.run

        def inside() -> None:
            with machine.here():
                run()

        thread.run = inside
        start(thread)

    return start_inside
