"""The two modes of the simulated device: what Python asks of torch about tensors, and every operation on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from tests.support.simulated_device import SimulatedCuda

CPU = -1
"""Place of a tensor in host memory; those on a device have the device's index."""
aten = torch.ops.aten

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


class Functions(TorchFunctionMode):
    """Answers for marked tensors what Python asks of torch."""

    def __init__(self, machine: SimulatedCuda, now: SimpleNamespace) -> None:
        super().__init__()
        self.machine = machine
        self.now = now

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        places = [self.machine.place_of(tensor) for tensor in tensors_in((args, kwargs))]
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


class Dispatch(TorchDispatchMode):
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
        inputs = [tensor for tensor in tensors_in((args, kwargs)) if not tensor.is_meta]
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
        for tensor in tensors_in(result):
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
        if function is aten._to_copy.default and inputs and self.now.target is not None:
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


def _to(mode: Functions, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
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


def _cuda(mode: Functions, tensor: Tensor, device: Any = None, **kwargs: Any) -> Tensor:
    kwargs.pop("non_blocking", None)
    return mode.move(tensor, mode.machine.index_of("cuda" if device is None else device), **kwargs)


def _cpu(mode: Functions, tensor: Tensor, **kwargs: Any) -> Tensor:
    return mode.move(tensor, CPU, **kwargs)


def _device(mode: Functions, tensor: Tensor, *_: Any) -> torch.device:
    return torch.device("cuda", mode.machine.place_of(tensor))


def _numpy(mode: Functions, tensor: Tensor, *_: Any, **__: Any) -> Any:
    raise TypeError(NO_NUMPY.format(mode.machine.place_of(tensor)))


def _tolist(mode: Functions, tensor: Tensor) -> Any:
    mode.machine.note("copy")
    return tensor.tolist()


def _deepcopy(mode: Functions, tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    copied = mode.call(Tensor.clone, (tensor.detach(),), {}, None, mode.machine.place_of(tensor))
    memo[id(tensor)] = copied.requires_grad_(tensor.requires_grad)
    return copied


def _pinned(mode: Functions, tensor: Tensor, *_: Any) -> Tensor:
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


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
