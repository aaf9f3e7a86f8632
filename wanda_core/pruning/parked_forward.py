"""Parked forwards: the ordinary forward of the model, held up where a decision is due.

Every micro-batch runs the model's own forward in a greenlet. A hook on every prunable layer adds the layer's input to
its statistics and parks the greenlet. Once all micro-batches are parked at the same layer its statistics are complete:
the layer is decided once, and each micro-batch goes on through the pruned layer. No block's arguments are copied or
known, so every architecture's masks, positions and shared keys simply work. The schedules are places to park.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor, nn
from torch.nn import functional

from wanda_core.errors import Refused, check_stop
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.models.experts import forward as experts_forward
from wanda_core.models.norms import Norm
from wanda_core.models.prunable_layers import ExpertLayer, Layer, PrunableModel
from wanda_core.models.replaced_forward import ReplacedForward
from wanda_core.pruning.dense_stream import DenseStream
from wanda_core.pruning.place import Place, Weights
from wanda_core.pruning.recovery import COST, BlockCall, BlockRecovery
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
        decided: all layers are, from the dense model's inputs: the walk only recovers.
        recovery: trains each block once its layers are decided, and the walk goes on with what it gives.
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
        recovery: BlockRecovery | None = None,
        decided: bool = False,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
        clock: StageClock | None = None,
    ) -> None:
        self.prunable = prunable
        self.batches = tokens.split(micro_batch)
        self.decide = decide
        self.schedule = schedule
        self._decided_before = decided
        self.recovery = recovery
        self.on_progress = on_progress
        self.stop = stop
        self._clock = clock or StageClock()
        self.inputs = SharedInputs(prunable.layers, len(self.batches), tokens.shape[1], gram, self._clock)
        self._twice = schedule == "block" or recovery is not None
        """Every block runs twice: for the decisions, and with what was decided."""
        self._gathering = schedule == "dense" or not self._twice
        self._aside = False
        """What runs now is not the walk: our hooks let it pass."""
        self._done = 0.0

    @torch.no_grad()
    def run(self) -> None:
        """Go once through the model, alone on it.

        Raises:
            Refused: a layer is called twice in one forward, the micro-batches take different ways, or a streamed
                model's files were changed.
            Stopped: `stop` was set.
        """
        stream = self.prunable.stream
        held = nullcontext() if stream is None else stream.holding(self._hold)
        with self.prunable.alone(self.stop), held:
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
        if self._twice:
            hooks += [
                h for index, block in enumerate(self.prunable.blocks) for h in self._watch_block(index, block)
            ]
        try:
            if self.schedule == "dense" and not self._decided_before:
                if self.prunable.stream is None:
                    for batch in self.batches:
                        self._forward(batch)
                else:
                    self._run_parked()
                self._decide_waiting()
            self._gathering = not self._twice
            if self.recovery is not None:
                dense = DenseStream(self.prunable, self.batches, self.stop)
                with dense.running():
                    self._run_parked(dense)
            elif self.schedule != "dense":
                self._run_parked()
        finally:
            for hook in hooks:
                hook.remove()
            self.prunable.restore()

    def _forward(self, batch: Tensor) -> None:
        self.prunable.decoder(input_ids=batch, use_cache=False)

    def _run_parked(self, dense: DenseStream | None = None) -> None:
        """Resume every micro-batch in turn, decide where all of them wait, until all have come through."""
        forwards = [greenlet(self._forward) for _ in self.batches]
        try:
            places = [forward.switch(batch) for forward, batch in zip(forwards, self.batches, strict=True)]
            while not all(forward.dead for forward in forwards):
                if any(place != places[0] for place in places):
                    raise Refused(OTHER_WAY)
                if places[0].part is not None:
                    if self.schedule == "dense" and self._gathering:
                        self._decide_waiting()  # what they have left is still in memory
                    weights = {}
                elif dense is not None and places[0].block is not None:
                    weights = self._recovered(places, dense)
                else:
                    # No comprehension: in a traceback its closure would keep this walk, and all it holds, alive.
                    layers = places[0].layers
                    weights = dict(zip(layers, map(self._decided, layers), strict=True))
                del places
                places = [forward.switch(weights) for forward in forwards]
                del weights
        finally:
            for forward in forwards:
                if forward and not forward.dead:
                    forward.throw(GreenletExit)

    def _decide_waiting(self) -> None:
        """Decide the layers that the dense model's forward has passed."""
        for layer in self.inputs.waiting:
            check_stop(self.stop)
            self._decided(layer)

    def _hold(self, part: nn.Module) -> None:
        """Wait until all micro-batches have come to a part, so that it is brought into memory once."""
        if not self._aside:
            getcurrent().parent.switch(Place(part=part))

    def _decided(self, layer: Layer) -> Tensor:
        """Decide a layer whose statistics are complete."""
        return self.decide(layer, self.inputs.take(layer))

    def _recovered(self, places: Sequence[Place], dense: DenseStream) -> Weights:
        """Recover the block that all micro-batches are about to enter. Nothing parks meanwhile but the dense stream."""
        index, calls = places[0].block, [place.call for place in places if place.call is not None]
        assert index is not None
        assert self.recovery is not None
        work = COST * len(self.batches) * len([x for x in self.prunable.layers if x.block == index])
        self._aside = True
        with self._clock.stage("recovery", self.batches[0].device):
            targets = list(dense.next_block())
            begun = self._done

            def tell(share: float) -> None:
                self._went_on(begun + share * work - self._done, f"recovery of block {index}")

            weights = self.recovery(index, calls, targets, tell)
            tell(1)
        self._aside = False
        return weights

    def _watch_layer(self, layer: Layer) -> list[Any]:
        parks = self.schedule == "layer"

        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            if self._aside:
                return
            self._arrive(layer, args[0] if args else kwargs["input"])
            if parks and self._gathering:
                layer.point_at(self._park((layer,))[layer])

        def after(*_: Any) -> None:
            if self._gathering:
                layer.restore()

        hooks = [layer.module.register_forward_pre_hook(before, with_kwargs=True)]
        if parks:
            hooks.append(layer.module.register_forward_hook(after))
        return hooks

    def _open_experts(self, module: nn.Module, layers: list[ExpertLayer]) -> Any:
        """Let an experts module compute expert by expert, and park once for all matrices of a projection."""

        def project(projection: str, inputs: dict[int, Tensor]) -> dict[int, Tensor]:
            matrices = {layer.expert: layer for layer in layers if layer.projection == projection}
            if not self._aside:
                for expert, layer in matrices.items():
                    # An expert without a token counts as called, with no rows.
                    width = layer.stored.shape[1]
                    self._arrive(
                        layer, inputs.get(expert, layer.stored.new_empty(0, width, dtype=layer.dtype))
                    )
            parameter = getattr(module, projection)
            weights = {expert: parameter[expert] for expert in inputs}
            if self.schedule == "layer" and self._gathering and not self._aside:
                decided = self._park(tuple(matrices.values()))
                weights = {expert: decided[matrices[expert]] for expert in inputs}
            return {expert: functional.linear(rows, weights[expert]) for expert, rows in inputs.items()}

        def forward(hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
            return experts_forward(module, hidden_states, top_k_index, top_k_weights, project)

        return ReplacedForward(module, forward)

    def _arrive(self, layer: Layer, inputs: Tensor) -> None:
        """A micro-batch has come to a layer: take up its input."""
        check_stop(self.stop)
        if self._gathering:
            self.inputs.add(layer, inputs)
        self._went_on(1, layer.name)

    def _went_on(self, work: float, where: str) -> None:
        """So much more is done, in calls of a layer by a micro-batch."""
        self._done += work
        if self.on_progress:
            passes = 2 if self._twice and not self._decided_before else 1
            passes += COST if self.recovery is not None else 0
            self.on_progress(self._done / (passes * len(self.batches) * len(self.prunable.layers)), where)

    def _park(self, layers: tuple[Layer, ...]) -> Weights:
        """Wait until these layers are decided; called from inside a forward's greenlet."""
        weights = getcurrent().parent.switch(Place(layers))
        self._gathering = self.schedule == "layer"  # others have gone on meanwhile
        return weights

    def _watch_block(self, index: int, block: nn.Module) -> list[Any]:
        layers = tuple(layer for layer in self.prunable.layers if layer.block == index)
        parts: tuple[Layer | Norm, ...] = (
            *layers,
            *(norm for norm in self.prunable.norms if norm.block == index),
        )

        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            if self._aside or (self.schedule == "dense" and self._gathering):
                return
            weights: Weights = {}
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            versions = [tensor._version for tensor in tensors]
            if self.schedule != "dense":
                self._gathering = True
                module.forward(*args, **kwargs)
                self._gathering = False
            if self.schedule == "block":
                waiting = set(self.inputs.waiting)
                weights = self._park(tuple(layer for layer in layers if layer in waiting))
            if versions != [tensor._version for tensor in tensors]:
                instead = "layer for {schedule}" if self.recovery is None else "none for {recovery}"
                raise Refused(
                    f"block {index} changes its own input, so it cannot run twice: choose {instead}"
                )
            if self.recovery is not None:
                place = Place(block=index, call=BlockCall(block, args, kwargs))
                weights = getcurrent().parent.switch(place)
                self._gathering = False
            for part, weight in weights.items():
                part.point_at(weight)

        def after(*_: Any) -> None:
            if not self._aside:
                for part in parts:
                    part.restore()

        return [block.register_forward_pre_hook(before, with_kwargs=True), block.register_forward_hook(after)]
