"""A model whose weights stay in their files: each part is brought into memory when the forward comes to it.

A part is a decoder block, or another module with weights of its own: embeddings, a last normalisation, the head. Before
its forward its weights are converted to the dtype that the model computes in, and they are dropped when the forward
comes to the next part. So one part is in memory at a time, and every value is the one that a model loaded in that dtype
would have. Forwards that run together, each held up before a part until all have come there, read the file once.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor, nn

from wanda_core.errors import check_stop
from wanda_core.machine import give_back
from wanda_core.models.mapped_files import MappedFiles


class Part(Protocol):
    """What of a model can compute with other values: a layer, a normalisation."""

    @property
    def parameter(self) -> nn.Parameter: ...

    def point_at(self, values: Tensor, /) -> None: ...


class BlockStream:
    """Brings the parts of one network into memory and drops them; works by itself in every forward.

    Args:
        network: its parameters lie in `files`, in any float dtype.
        blocks: its decoder blocks.
        dtype: what it computes in.
    """

    def __init__(
        self, network: nn.Module, blocks: Sequence[nn.Module], dtype: torch.dtype, files: MappedFiles
    ) -> None:
        self.dtype = dtype
        self.files = files
        self.resident: dict[nn.Parameter, Tensor] = {}
        """The dense weights that are in memory now."""
        self._hold: Callable[[nn.Module], None] | None = None
        self._replaced: dict[nn.Parameter, list[tuple[Part, Callable[[], Tensor]]]] = {}
        self._now: nn.Module | None = None
        self._parts, between = parts_of(network, blocks)
        for parameter in between:
            parameter.data = parameter.data.to(dtype)
        self._stored = {
            parameter: parameter.data for parameters in self._parts.values() for parameter in parameters
        }
        for module in self._parts:
            module.register_forward_pre_hook(self._enter)
        _STREAMS[network] = self

    @property
    def parts(self) -> int:
        return len(self._parts)

    @property
    def largest(self) -> int:
        """Bytes of the largest part while it is in memory."""
        return self.dtype.itemsize * max(sum(p.numel() for p in own) for own in self._parts.values())

    def together(
        self,
        forwards: Sequence[Callable[[], None]],
        *,
        on_part: Callable[[int], None] = lambda done: None,
        stop: threading.Event | None = None,
    ) -> None:
        """Run these forwards of the network side by side, so that each part is brought into memory once for all.

        Args:
            forwards: called in this order up to each part. None may depend on what another does behind a part.
            on_part: called with how many parts all have passed.

        Raises:
            Refused: a file of the weights was changed meanwhile.
            Stopped: `stop` was set.
        """
        running = [greenlet(forward) for forward in forwards]
        done = 0
        with self.holding(_held):
            try:
                while not all(forward.dead for forward in running):
                    for forward in running:
                        check_stop(stop)
                        if not forward.dead:
                            forward.switch()
                    on_part(done)
                    done += 1
            finally:
                for forward in running:
                    if forward and not forward.dead:
                        forward.throw(GreenletExit)

    @contextmanager
    def holding(self, hold: Callable[[nn.Module], None]) -> Iterator[None]:
        """One pass through the model, in which `hold` is called before a part is brought into memory: it may let other
        forwards run meanwhile.

        Raises:
            Refused: a file of the weights was changed meanwhile.
        """
        self._hold = hold
        try:
            yield
        finally:
            self._hold = None
            self.drop()
        self.files.check_unchanged()

    @contextmanager
    def replacing(self, weights: Iterable[tuple[Part, Callable[[], Tensor]]]) -> Iterator[None]:
        """Let these parts compute with other values than the dense ones inside the `with`, made each time that they are
        brought into memory. It stands in place of what is replaced outside it."""
        before = self._replaced
        self.drop()
        self._replaced = {}
        for part, make in weights:
            self._replaced.setdefault(part.parameter, []).append((part, make))
        try:
            yield
        finally:
            self.drop()
            self._replaced = before

    def drop(self) -> None:
        """Nothing is in memory any longer."""
        self.resident.clear()
        if self._now is None:
            return
        for parameter in self._parts[self._now]:
            parameter.data = self._stored[parameter]
        self._now = None
        give_back()  # else the C library would keep what one block after the other has borrowed

    def _enter(self, module: nn.Module, args: object) -> None:
        """A forward has come to a part."""
        if self._hold is not None:
            self._hold(module)
        if module is self._now:
            return
        self.drop()
        self.files.check_unchanged()
        self._now = module
        try:
            for parameter in self._parts[module]:
                replaced = self._replaced.get(parameter, ())
                if not replaced or parameter.dim() > 2:  # of several experts only some may be replaced
                    self.resident[parameter] = parameter.data = self._stored[parameter].to(self.dtype)
                for part, make in replaced:
                    part.point_at(make())
        except BaseException:  # the next forward must not take half a part for a whole one
            self.drop()
            raise


Parts = dict[nn.Module, tuple[nn.Parameter, ...]]
"""The modules whose weights are brought into memory together, each with these."""


def parts_of(network: nn.Module, blocks: Sequence[nn.Module]) -> tuple[Parts, list[nn.Parameter]]:
    """The parts of a network, and the parameters between them: a few values of modules that hold others, used at any
    time."""
    parts: Parts = {block: tuple(block.parameters()) for block in blocks}
    between: list[nn.Parameter] = []
    inside = {module for block in blocks for module in block.modules()}
    for module in network.modules():
        own = tuple(module.parameters(recurse=False))
        if own and module not in inside:
            if next(module.children(), None) is None:
                parts[module] = own
            else:
                between += own
    return parts, between


def largest_part(network: nn.Module, blocks: Sequence[nn.Module]) -> int:
    """How many numbers the largest part of a network has."""
    parts, _ = parts_of(network, blocks)
    return max(sum(parameter.numel() for parameter in own) for own in parts.values())


_STREAMS: weakref.WeakKeyDictionary[nn.Module, BlockStream] = weakref.WeakKeyDictionary()


def stream_of(network: nn.Module) -> BlockStream | None:
    """What brings this network's weights into memory; None: they are in memory."""
    return _STREAMS.get(network)


def dense_now(stream: BlockStream | None, parameter: nn.Parameter, stored: Tensor) -> Tensor:
    """A parameter's dense values: as they were brought into memory, else as they are stored."""
    return stored if stream is None else stream.resident.get(parameter, stored)


def _held(_: nn.Module) -> None:
    getcurrent().parent.switch()
