"""What the stages of a pruning take, also where the device works on after a call has returned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import torch


class StageClock:
    """Adds up the seconds of named stages. On CUDA they are the device's, between two events on its stream: the host
    waits for them only when they are read."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._devices: set[torch.device] = set()
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def stage(self, name: str, device: torch.device) -> Iterator[None]:
        """Count what runs inside the `with` to a stage; nothing may park in it, and no stage lies in another."""
        if device.type != "cuda":
            start = perf_counter()
            yield
            self._seconds[name] += perf_counter() - start
            return
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(device)
        began.record(stream)
        yield
        ended.record(stream)
        self._devices.add(device)
        self._events.append((name, began, ended))

    def seconds(self) -> dict[str, float]:
        """By stage."""
        for device in self._devices:
            torch.cuda.synchronize(device)
        for name, began, ended in self._events:
            self._seconds[name] += began.elapsed_time(ended) / 1000
        self._events.clear()
        return dict(self._seconds)
