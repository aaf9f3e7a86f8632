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
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.simulated_card import Card, face
from tests.support.simulated_two_four import registered

CPU = -1
"""Place of a tensor in host memory; those on a device have the device's index."""
ROOT = Path(__file__).parents[2]
aten = torch.ops.aten

CROSSES = {aten.copy_.default, aten._to_copy.default}
INDEXED = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
WAITS = {
    aten._local_scalar_dense.default: "scalar",
    aten.equal.default: "scalar",
    aten.nonzero.default: "size",
    aten.masked_select.default: "size",
    aten.bincount.default: "size",
    aten._unique2.default: "size",
    aten.unique_consecutive.default: "size",
    aten.unique_dim.default: "size",
    aten.repeat_interleave.Tensor: "size",
}
"""Operations that let the host wait for the device: for a number, or for the size of the result."""
NO_NUMPY = (
    "can't convert cuda:{} device type tensor to numpy. Use Tensor.cpu() to copy it to host memory first."
)


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
        with _Dispatch(self, now), _Functions(self, now):
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


class _Functions(TorchFunctionMode):
    """Answers for marked tensors what Python asks of torch."""

    def __init__(self, machine: SimulatedCuda, now: SimpleNamespace) -> None:
        super().__init__()
        self.machine = machine
        self.now = now

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        places = [self.machine.place_of(tensor) for tensor in _tensors((args, kwargs))]
        ambient = next((place for place in places if place != CPU), CPU)
        answer = ANSWERS.get(function)
        if answer is not None and (ambient != CPU or answer in (_to, _cuda)):
            return answer(self, *args, **kwargs)
        target = None
        if kwargs.get("device") is not None:
            target = self.machine.index_of(kwargs["device"])
            if torch.device(kwargs["device"]).type == "cuda":
                kwargs["device"] = "cpu"
        generators = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
        if generators and (ambient if target is None else target) != CPU:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        result = self.call(function, args, kwargs, target, ambient)
        if target is not None and isinstance(result, Tensor):
            if function in (torch.as_tensor, torch.asarray) and self.machine.place_of(result) != target:
                result = result.clone()  # it may share its memory with what it was made of
            self.machine.mark(result, target)
        elif function is Tensor.new_tensor:
            self.machine.mark(result, ambient)
        return result

    def call(self, function: Any, args: tuple, kwargs: dict, target: int | None, ambient: int) -> Any:
        """Run a function of torch; the dispatch mode marks what comes out."""
        before = self.now.target, self.now.ambient
        self.now.target, self.now.ambient = target, ambient
        try:
            return function(*args, **kwargs)
        finally:
            self.now.target, self.now.ambient = before

    def move(self, tensor: Tensor, target: int | None, *args: Any, **kwargs: Any) -> Tensor:
        place = self.machine.place_of(tensor)
        target = place if target is None else target
        if target != place:
            if tensor.is_meta:
                raise NotImplementedError("Cannot copy out of meta tensor; no data!")
            kwargs["copy"] = True
        return self.call(Tensor.to, (tensor, *args), kwargs, target, place)


class _Dispatch(TorchDispatchMode):
    """Sees every operation with its tensors: refuses mixtures, counts, and marks results."""

    def __init__(self, machine: SimulatedCuda, now: SimpleNamespace) -> None:
        super().__init__()
        self.machine = machine
        self.now = now

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if any(issubclass(kind, torch.sparse.SparseSemiStructuredTensor) for kind in types):
            return NotImplemented  # its own operations come back here
        kwargs = kwargs or {}
        machine = self.machine
        inputs = [tensor for tensor in _tensors((args, kwargs)) if not tensor.is_meta]
        place = self._place(function, args, inputs)
        if place != CPU:
            if function in WAITS:
                machine.note(WAITS[function])
            if function in INDEXED:
                self._note_indices(args)
            machine.cards[place].kernels += 1
        if place != CPU and torch.Tag.nondeterministic_seeded in function.tags:
            with machine.cards[place].random_numbers():
                result = function(*args, **kwargs)
        else:
            result = function(*args, **kwargs)
        known = {tensor.untyped_storage()._cdata for tensor in inputs}
        for tensor in _tensors(result):
            if tensor.untyped_storage()._cdata not in known:
                machine.mark(tensor, place)
        if machine.capturing is not None and place != CPU:
            machine.capturing.operations.append((function, args, kwargs, result))
        return result

    def _place(self, function: Any, args: tuple, inputs: list[Tensor]) -> int:
        """Where an operation runs and its results lie."""
        machine = self.machine
        places = [machine.place_of(tensor) for tensor in inputs]
        if function is aten.copy_.default:
            machine.note_crossing(places[1], places[0], inputs[1].nbytes)
            return places[0]
        if function is aten._to_copy.default and self.now.target is not None:
            machine.note_crossing(places[0], self.now.target, inputs[0].nbytes)
            return self.now.target
        if function in INDEXED:
            own = {places[0]} | {places[0]} & set(places)
            chosen = {machine.place_of(index) for index in args[1] if index is not None} - {CPU}
            values = {machine.place_of(value) for value in args[2:3] if value.dim()}
            _refuse_mixture(function, own | chosen | values)
            return places[0]
        # A number in host memory goes with every device.
        counting = {
            place for tensor, place in zip(inputs, places, strict=True) if tensor.dim() or place != CPU
        }
        _refuse_mixture(function, counting)
        if self.now.target is not None:
            return self.now.target
        return next(iter(counting), CPU if inputs else self.now.ambient)

    def _note_indices(self, args: tuple) -> None:
        """Indices in host memory cross over; those that are masks have to be counted."""
        place = self.machine.place_of(args[0])
        for index in args[1]:
            if index is not None and self.machine.place_of(index) == CPU and index.dim():
                self.machine.note_crossing(CPU, place, index.nbytes)
            if index is not None and index.dtype in (torch.bool, torch.uint8):
                self.machine.note("size")


def _refuse_mixture(function: Any, places: set[int]) -> None:
    if len(places) > 1:
        names = " and ".join(
            "cpu" if place == CPU else f"cuda:{place}" for place in sorted(places, reverse=True)
        )
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {names}! ({function})"
        )


def _to(mode: _Functions, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    target = None
    rest: list[Any] = []
    other = kwargs.pop("other", None)
    device = kwargs.pop("device", None)
    for position, value in enumerate(args):
        if isinstance(value, Tensor):
            other = value
        elif position == 0 and (value is None or isinstance(value, torch.device | str | int)):
            device = value
        else:
            rest.append(value)
    if other is not None:
        target, rest = mode.machine.place_of(other), [other.dtype, *rest]
    elif device is not None:
        if torch.device(device).type == "meta":
            return tensor.to("meta")
        target = mode.machine.index_of(device)
    names = (("dtype",) if rest and isinstance(rest[0], torch.dtype | None) else ()) + (
        "non_blocking",
        "copy",
    )
    return mode.move(tensor, target, **dict(zip(names, rest, strict=False)) | kwargs)


def _cuda(mode: _Functions, tensor: Tensor, device: Any = None, **kwargs: Any) -> Tensor:
    kwargs.pop("non_blocking", None)
    return mode.move(tensor, mode.machine.index_of("cuda" if device is None else device), **kwargs)


def _cpu(mode: _Functions, tensor: Tensor, **kwargs: Any) -> Tensor:
    return mode.move(tensor, CPU, **kwargs)


def _device(mode: _Functions, tensor: Tensor, *_: Any) -> torch.device:
    return torch.device("cuda", mode.machine.place_of(tensor))


def _numpy(mode: _Functions, tensor: Tensor, *_: Any, **__: Any) -> Any:
    raise TypeError(NO_NUMPY.format(mode.machine.place_of(tensor)))


def _tolist(mode: _Functions, tensor: Tensor) -> Any:
    mode.machine.note("copy")
    return tensor.tolist()


def _deepcopy(mode: _Functions, tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    copied = mode.call(Tensor.clone, (tensor.detach(),), {}, None, mode.machine.place_of(tensor))
    memo[id(tensor)] = copied.requires_grad_(tensor.requires_grad)
    return copied


def _pinned(mode: _Functions, tensor: Tensor, *_: Any) -> Tensor:
    raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")


ANSWERS: dict[Any, Callable[..., Any]] = {
    Tensor.device.__get__: _device,
    Tensor.is_cuda.__get__: lambda mode, tensor, *_: True,
    Tensor.is_cpu.__get__: lambda mode, tensor, *_: False,
    Tensor.get_device: lambda mode, tensor: mode.machine.place_of(tensor),
    Tensor.to: _to,
    Tensor.type_as: _to,
    Tensor.cuda: _cuda,
    Tensor.cpu: _cpu,
    Tensor.numpy: _numpy,
    Tensor.__array__: _numpy,
    Tensor.tolist: _tolist,
    Tensor.__deepcopy__: _deepcopy,
    Tensor.pin_memory: _pinned,
}
"""What is answered here for marked tensors, instead of by torch."""


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _line() -> str:
    """The innermost line of the project that is being run, `file.py:number`, tests last."""
    frame = sys._getframe(1)
    outside = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(str(ROOT)) and "/tests/support/simulated" not in file:
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
