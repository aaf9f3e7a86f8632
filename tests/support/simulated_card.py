"""What torch says of a simulated CUDA device: its memory, its clock, its random numbers, and `torch.cuda` itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tests.support.simulated_device import SimulatedCuda

ROUNDING = 512
"""torch's allocator rounds every tensor up to this many bytes."""
SEGMENT = 2 * 2**20
"""It asks the driver for multiples of this."""


def out_of_memory(size: int) -> Exception:
    return torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB.")


class Card:
    """One device. Its allocator keeps what it was given, as torch's does, and never fragments."""

    def __init__(self, index: int, memory: int) -> None:
        self.index = index
        self.memory = memory
        self.others = 0
        """Bytes that other processes hold."""
        self.allocated = 0
        self.reserved = 0
        self.peak = 0
        self.allocations = 0
        self.kernels = 0
        """The device's clock: each kernel takes a millisecond of it, whatever the host's clock says."""
        self.random_state = torch.Generator().manual_seed(0).get_state()
        self._fail_at: int | None = None
        self._failure: Callable[[int], Exception] = out_of_memory

    def fail_at(self, allocation: int | None, failure: Callable[[int], Exception] = out_of_memory) -> None:
        """Let one allocation fail, counted from now on; 1 is the next, None lets none fail any more."""
        self._fail_at = allocation and self.allocations + allocation
        self._failure = failure

    def take(self, size: int) -> int:
        """Allocate; returns the bytes as rounded."""
        size = -(-size // ROUNDING) * ROUNDING
        self.allocations += 1
        if self._fail_at == self.allocations:
            raise self._failure(size)
        needed = self.allocated + size
        if needed > self.memory - self.others:
            raise out_of_memory(size)
        if needed > self.reserved:
            # The last segment is cut short where the card ends.
            self.reserved = min(-(-needed // SEGMENT) * SEGMENT, self.memory - self.others)
        self.allocated = needed
        self.peak = max(self.peak, needed)
        return size

    def release(self, size: int) -> None:
        self.allocated -= size

    def empty_cache(self) -> None:
        self.reserved = -(-self.allocated // SEGMENT) * SEGMENT

    @contextmanager
    def random_numbers(self) -> Iterator[None]:
        """Let torch draw from this device's generator inside the `with`."""
        before = torch.get_rng_state()
        torch.set_rng_state(self.random_state)
        try:
            yield
        finally:
            self.random_state = torch.get_rng_state()
            torch.set_rng_state(before)


def face(machine: SimulatedCuda) -> dict[str, Any]:
    """The functions and classes of `torch.cuda` that tell of, or act on, the simulated machine."""
    chosen = threading.local()

    def index(device: Any = None) -> int:
        return machine.index_of(device) if device is not None else getattr(chosen, "index", 0)

    machine.current = index

    def card(device: Any = None) -> Card:
        return machine.cards[index(device)]

    def properties(device: Any = None) -> SimpleNamespace:
        major, minor = machine.capability
        return SimpleNamespace(
            name=machine.name,
            major=major,
            minor=minor,
            total_memory=card(device).memory,
            multi_processor_count=132,
            L2_cache_size=50 * 2**20,
        )

    def synchronize(device: Any = None) -> None:
        index(device)
        machine.note("explicit")

    def empty_cache() -> None:
        for each in machine.cards:
            each.empty_cache()

    def seed_all(seed: int) -> None:
        for each in machine.cards:
            each.random_state = torch.Generator().manual_seed(seed).get_state()

    def seed_one(seed: int) -> None:
        card().random_state = torch.Generator().manual_seed(seed).get_state()

    def set_random(state: torch.Tensor, device: Any = None) -> None:
        card(device).random_state = state.clone()

    def set_device(device: Any) -> None:
        chosen.index = index(device)

    def reset_peak(device: Any = None) -> None:
        card(device).peak = card(device).allocated

    @contextmanager
    def current(device: Any) -> Iterator[None]:
        before = index()
        chosen.index = index(device)
        try:
            yield
        finally:
            chosen.index = before

    class Stream:
        def __init__(self, device: Any = None) -> None:
            self.device = torch.device("cuda", index(device))

        def wait_stream(self, other: Stream) -> None:
            pass

        def synchronize(self) -> None:
            machine.note("explicit")

    class Event:
        """Reads the clock of the device whose stream it is recorded on."""

        def __init__(self, enable_timing: bool = False) -> None:
            self._at: tuple[int, int] | None = None

        def record(self, stream: Stream | None = None) -> None:
            at = index() if stream is None else stream.device.index
            self._at = (at, machine.cards[at].kernels)

        def synchronize(self) -> None:
            machine.note("explicit")

        def elapsed_time(self, end: Event) -> float:
            if self._at is None or end._at is None or self._at[0] != end._at[0]:
                raise RuntimeError("CUDA error: both events must be recorded on one device")
            return float(end._at[1] - self._at[1])

    class Graph:
        """Replays the operations that ran while it was captured, into the tensors that they gave."""

        def __init__(self) -> None:
            self.operations: list[tuple[Any, ...]] = []

        def replay(self) -> None:
            for function, args, kwargs, given in self.operations:
                again = function(*args, **kwargs)
                if isinstance(given, torch.Tensor) and again.data_ptr() != given.data_ptr():
                    given.copy_(again)

    @contextmanager
    def capture(graph: Graph, stream: Stream | None = None, **_: Any) -> Iterator[None]:
        machine.capturing = graph
        try:
            yield
        finally:
            machine.capturing = None

    @contextmanager
    def on_stream(stream: Stream) -> Iterator[None]:
        yield

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "is_bf16_supported": lambda *_, **__: True,
        "device_count": lambda: len(machine.cards),
        "current_device": index,
        "set_device": set_device,
        "device": current,
        "get_device_name": lambda device=None: properties(device).name,
        "get_device_capability": lambda device=None: machine.capability if index(device) >= 0 else (),
        "get_device_properties": properties,
        "mem_get_info": lambda device=None: (
            card(device).memory - card(device).others - card(device).reserved,
            card(device).memory,
        ),
        "memory_allocated": lambda device=None: card(device).allocated,
        "memory_reserved": lambda device=None: card(device).reserved,
        "max_memory_allocated": lambda device=None: card(device).peak,
        "reset_peak_memory_stats": reset_peak,
        "empty_cache": empty_cache,
        "synchronize": synchronize,
        "manual_seed": seed_one,
        "manual_seed_all": seed_all,
        "get_rng_state": lambda device="cuda": card(device).random_state.clone(),
        "set_rng_state": set_random,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": on_stream,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": capture,
    }
