"""Statistics of the layers' inputs, one for all layers that read the very same input, as query, key and value do."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass

from greenlet import getcurrent, greenlet
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.models.prunable_layers import Layer
from wanda_core.pruning.stage_clock import StageClock

OTHER_WAY = "micro-batches take different paths through the model, so their statistics cannot be combined"


class SharedInputs:
    """Gathers every layer's input, micro-batch by micro-batch.

    Args:
        batches: micro-batches that will come by each layer.
        window: tokens of one calibration window.
        gram: gather Gram matrices, too.
        clock: counts the stage `statistics`.
    """

    def __init__(
        self, layers: Iterable[Layer], batches: int, window: int, gram: bool, clock: StageClock
    ) -> None:
        self._clock = clock
        self._batches = batches
        self._window = window
        self._gram = gram
        self._statistics: dict[Layer, InputStatistics] = {}
        self._latest: weakref.WeakKeyDictionary[greenlet, _Seen] = weakref.WeakKeyDictionary()
        self._shares: dict[Layer, bool] = {}
        self._calls: dict[Layer, int] = dict.fromkeys(layers, 0)

    @property
    def uncalled(self) -> list[str]:
        """Layers that the forward never called."""
        return [layer.name for layer, calls in self._calls.items() if calls == 0]

    @property
    def waiting(self) -> list[Layer]:
        """Layers whose statistics were gathered and not yet taken."""
        return list(self._statistics)

    def add(self, layer: Layer, inputs: Tensor) -> None:
        """Count in a layer's input, (..., in_features), as the current greenlet's micro-batch has it.

        Raises:
            Refused: the layer is called twice in one forward, or shares its input in some micro-batches only.
        """
        self._calls[layer] += 1
        if self._calls[layer] > self._batches:
            raise Refused(
                f"{layer.name} is called more than once in a forward: it cannot be pruned by its input"
            )
        seen = self._latest.get(getcurrent())
        shared = seen.statistics if seen and seen.is_of(inputs) else None
        statistics = self._statistics.get(layer)
        if statistics is None:
            statistics = shared or InputStatistics(inputs.shape[-1], inputs.device, self._window, self._gram)
            self._statistics[layer] = statistics
            self._shares[layer] = shared is not None
        if self._shares[layer] != (shared is not None) or (shared is not None and shared is not statistics):
            raise Refused(OTHER_WAY)
        if shared is None:
            with self._clock.stage("statistics", inputs.device):
                statistics.add(inputs)
        if not inputs.is_inference():
            self._latest[getcurrent()] = _Seen(weakref.ref(inputs), inputs._version, statistics)

    def take(self, layer: Layer) -> InputStatistics:
        """The finished statistics of a layer, which are not kept any longer.

        Raises:
            Refused: not every micro-batch came by.
        """
        if self._calls[layer] != self._batches:
            raise Refused(f"{layer.name} is called for some texts only: it cannot be pruned by its input")
        return self._statistics.pop(layer)


@dataclass(frozen=True)
class _Seen:
    """The input that a micro-batch was last seen with."""

    inputs: weakref.ref[Tensor]
    version: int
    statistics: InputStatistics

    def is_of(self, inputs: Tensor) -> bool:
        return self.inputs() is inputs and self.version == inputs._version  # not written to since
