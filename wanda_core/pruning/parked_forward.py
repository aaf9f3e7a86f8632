"""Parked forwards: the ordinary forward of the model, held up where a decision is due.

Every micro-batch runs the model's own forward in a greenlet. A hook on every prunable layer adds the layer's input to
its statistics and parks the greenlet. Once all micro-batches are parked at the same layer its statistics are complete:
the layer is decided once, and each micro-batch goes on through the pruned layer. No block's arguments are copied or
known, so every architecture's masks, positions and shared keys simply work. The schedules are places to park.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor, nn
from torch.nn import functional

from wanda_core.errors import Refused, check_stop
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.models.experts import forward as experts_forward
from wanda_core.models.prunable_layers import ExpertLayer, Layer, PrunableModel, ReplacedForward
from wanda_core.pruning.shared_inputs import OTHER_WAY, SharedInputs
from wanda_core.pruning.stage_clock import StageClock

Decide = Callable[[Layer, InputStatistics], Tensor]
"""Given a layer and its finished statistics, the weight (out_features, in_features) to go on with."""


OnProgress = Callable[[float, str], None]
"""Called with the share of the work that is done, 0 to 1, and the name of the layer just reached."""


class ParkedForward:
    """One pass of calibration tokens through a model, deciding each layer on the way.

    Args:
        prunable: the model; its dense weights are never written and are back in place however the walk ends.
        tokens: int64 (samples, length), on the decoder's device.
        decide: called once for each layer.
        micro_batch: windows in one forward.
        schedule: `layer`, `block` or `dense`.
        gram: gather Gram matrices, too.
        stop: when set, the walk ends with `Stopped` before the next layer call.
        clock: counts the stage `statistics`.
    """

    def __init__(
        self,
        prunable: PrunableModel,
        tokens: Tensor,
        decide: Decide,
        *,
        micro_batch: int,
        schedule: str,
        gram: bool = False,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
        clock: StageClock | None = None,
    ) -> None:
        self.prunable = prunable
        self.batches = tokens.split(micro_batch)
        self.decide = decide
        self.schedule = schedule
        self.on_progress = on_progress
        self.stop = stop
        clock = clock or StageClock()
        self.inputs = SharedInputs(prunable.layers, len(self.batches), tokens.shape[1], gram, clock)
        self._gathering = schedule != "block"
        self._passes = 0

    @torch.no_grad()
    def run(self) -> None:
        """Go once through the model, alone on it.

        Raises:
            Refused: a layer is called twice in one forward, or the micro-batches take different ways.
            Stopped: `stop` was set.
        """
        with self.prunable.alone(self.stop):
            self._run()

    def _run(self) -> None:
        experts: dict[nn.Module, list[ExpertLayer]] = {}
        hooks = []
        for layer in self.prunable.layers:
            if isinstance(layer, ExpertLayer):
                experts.setdefault(layer.module, []).append(layer)
            else:
                hooks += self._watch_layer(layer)
        hooks += [self._open_experts(module, layers) for module, layers in experts.items()]
        if self.schedule == "block":
            hooks += [
                h for index, block in enumerate(self.prunable.blocks) for h in self._watch_block(index, block)
            ]
        try:
            if self.schedule == "dense":
                for batch in self.batches:
                    self._forward(batch)
                for layer in self.inputs.waiting:
                    check_stop(self.stop)
                    self._decided(layer)
            else:
                self._run_parked()
        finally:
            for hook in hooks:
                hook.remove()
            self.prunable.restore()

    def _forward(self, batch: Tensor) -> None:
        self.prunable.decoder(input_ids=batch, use_cache=False)

    def _run_parked(self) -> None:
        """Resume every micro-batch in turn, decide where all of them wait, until all have come through."""
        forwards = [greenlet(self._forward) for _ in self.batches]
        try:
            places = [forward.switch(batch) for forward, batch in zip(forwards, self.batches, strict=True)]
            while not all(forward.dead for forward in forwards):
                if any(place != places[0] for place in places):
                    raise Refused(OTHER_WAY)
                # No comprehension: in a traceback its closure would keep this walk, and all it holds, alive.
                weights = dict(zip(places[0], map(self._decided, places[0]), strict=True))
                places = [forward.switch(weights) for forward in forwards]
                del weights
        finally:
            for forward in forwards:
                if forward and not forward.dead:
                    forward.throw(GreenletExit)

    def _decided(self, layer: Layer) -> Tensor:
        """Decide a layer whose statistics are complete."""
        return self.decide(layer, self.inputs.take(layer))

    def _watch_layer(self, layer: Layer) -> list[Any]:
        parks = self.schedule == "layer"

        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self._arrive(layer, args[0] if args else kwargs["input"])
            if parks:
                layer.point_at(_park((layer,))[layer])

        hooks = [layer.module.register_forward_pre_hook(before, with_kwargs=True)]
        if parks:
            hooks.append(layer.module.register_forward_hook(lambda *_: layer.restore()))
        return hooks

    def _open_experts(self, module: nn.Module, layers: list[ExpertLayer]) -> Any:
        """Let an experts module compute expert by expert, and park once for all matrices of a projection."""

        def project(projection: str, inputs: dict[int, Tensor]) -> dict[int, Tensor]:
            matrices = {layer.expert: layer for layer in layers if layer.projection == projection}
            for expert, layer in matrices.items():
                # An expert without a token counts as called, with no rows.
                width = layer.stored.shape[1]
                self._arrive(layer, inputs.get(expert, layer.stored.new_empty(0, width)))
            parameter = getattr(module, projection)
            weights = {expert: parameter[expert] for expert in inputs}
            if self.schedule == "layer":
                decided = _park(tuple(matrices.values()))
                weights = {expert: decided[matrices[expert]] for expert in inputs}
            return {expert: functional.linear(rows, weights[expert]) for expert, rows in inputs.items()}

        def forward(hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
            return experts_forward(module, hidden_states, top_k_index, top_k_weights, project)

        return ReplacedForward(module, forward)

    def _arrive(self, layer: Layer, inputs: Tensor) -> None:
        """A micro-batch has come to a layer: take up its input."""
        check_stop(self.stop)
        self._passes += 1
        if self._gathering:
            self.inputs.add(layer, inputs)
        if self.on_progress:
            twice = 2 if self.schedule == "block" else 1
            total = twice * len(self.batches) * len(self.prunable.layers)
            self.on_progress(self._passes / total, layer.name)

    def _watch_block(self, index: int, block: nn.Module) -> list[Any]:
        layers = tuple(layer for layer in self.prunable.layers if layer.block == index)

        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            versions = [tensor._version for tensor in tensors]
            self._gathering = True
            module.forward(*args, **kwargs)
            self._gathering = False
            if versions != [tensor._version for tensor in tensors]:
                raise Refused(
                    f"block {index} changes its own input, so it cannot run twice: choose layer for {{schedule}}"
                )
            waiting = set(self.inputs.waiting)
            called = tuple(layer for layer in layers if layer in waiting)
            for layer, weight in _park(called).items():
                layer.point_at(weight)

        def after(*_: Any) -> None:
            for layer in layers:
                layer.restore()

        return [block.register_forward_pre_hook(before, with_kwargs=True), block.register_forward_hook(after)]


def _park(layers: tuple[Layer, ...]) -> dict[Layer, Tensor]:
    """Wait until these layers are decided; called from inside a forward's greenlet."""
    return getcurrent().parent.switch(layers)
