"""Recovery, block by block: the kept weights and norms of a pruned block, trained towards the dense model's output.

Reconstruction of one block at a time as in EBFT (arXiv 2402.12419), with its masks fixed. The input is what the pruned
model gives the block, the target what the dense model returns there: the block also makes up for those before it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from wanda_core.errors import check_stop
from wanda_core.models.norms import Norm
from wanda_core.models.prunable_layers import ExpertLayer, Layer, PrunableModel
from wanda_core.pruning.dense_stream import hidden_of
from wanda_core.pruning.result import BlockReport, Pruning

EPOCHS = 3
"""At most: training stops where an epoch no longer lowers the error on the windows held out."""
RATE = 1e-3
"""Adam's learning rate at the first step; it falls linearly to 0. On SmolLM2-135M pruned to 50% by Wanda, 1e-3 gave a
perplexity of 57.7 where 2e-4 gave 63.9; the error held out was lower with each rate up to 2e-3."""
BETAS = (0.9, 0.95)
CLIP = 1.0
"""Largest norm of a step's gradient."""
HELD_OUT = 8
"""One of so many micro-batches is held out of the training."""
TOKENS = 512
"""In one step."""
COST = 1 + 3 * EPOCHS
"""What a block's recovery takes, in forwards of it over all windows: the dense one, and forward and backward."""

NO_NUMBER = "the loss turned NaN in its recovery: left as decided"


@dataclass(frozen=True, eq=False)
class BlockCall:
    """How one micro-batch came to a block: a function from weights to the block's output."""

    block: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def output(self, weights: dict[str, Tensor]) -> Tensor:
        """The hidden states (windows, length, hidden) that the block gives with these parameters, by their names in
        the block, in place of its own; in float32."""
        args, kwargs = tree_map(_widened, (self.args, self.kwargs))
        return hidden_of(functional_call(self.block, weights, args, kwargs)).float()


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


class BlockRecovery:
    """Recovers one decided block after the other, and writes values and reports into the result.

    Memory: one block's trained values in float32, their gradients, Adam's two moments, and the best values so far.
    """

    def __init__(self, prunable: PrunableModel, result: Pruning, stop: threading.Event | None = None) -> None:
        self._prunable = prunable
        self._result = result
        self._stop = stop

    @torch.no_grad()
    def __call__(
        self,
        index: int,
        calls: Sequence[BlockCall],
        targets: Sequence[Tensor],
        on_progress: Callable[[float], None],
    ) -> dict[Layer | Norm, Tensor]:
        """Train block `index`, whose layers are decided.

        Args:
            calls: of every micro-batch, two or more.
            targets: the dense model's output of the block, (windows, length, hidden) each.
            on_progress: called with the share done.

        Returns:
            The weights to go on with.

        Raises:
            Stopped: `stop` was set.
        """
        layers = [x for x in self._prunable.layers if x.block == index and x.name in self._result.masks]
        norms = [norm for norm in self._prunable.norms if norm.block == index]
        if not layers:  # the forward passed them by
            return {}
        training = _Training(self._prunable.blocks[index], layers, norms, self._result)
        held = held_out(len(calls))
        batches = list(zip(calls, targets, strict=True))
        report = self._train(index, training, batches[:-held], batches[-held:], on_progress)
        self._result.recovered.append(report)
        if report.note or report.after >= report.before:
            return {layer: self._result.weight(layer) for layer in layers}
        return training.keep(self._result)

    def _train(
        self,
        index: int,
        training: _Training,
        batches: Sequence[tuple[BlockCall, Tensor]],
        held: Sequence[tuple[BlockCall, Tensor]],
        on_progress: Callable[[float], None],
    ) -> BlockReport:
        before = best = self._error(training, held)
        if not math.isfinite(before):
            return BlockReport(index, before, before, 0, NO_NUMBER)
        steps = EPOCHS * len(batches)
        values = list(training.values.values())
        optimiser = torch.optim.Adam(values, lr=RATE, betas=BETAS)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        # The same order for the same recipe.
        generator = torch.Generator().manual_seed(self._result.recipe.seed)
        done = 0
        for epoch in range(1, EPOCHS + 1):
            for batch in torch.randperm(len(batches), generator=generator).tolist():
                check_stop(self._stop)
                with torch.enable_grad():
                    loss = _distances(training.weights(), *batches[batch]).mean()
                    loss.backward()
                if not torch.isfinite(loss):
                    return BlockReport(index, before, before, epoch, NO_NUMBER)
                training.mask_gradients()
                torch.nn.utils.clip_grad_norm_(values, CLIP)
                optimiser.step()
                schedule.step()
                optimiser.zero_grad(set_to_none=True)
                done += 1
                on_progress(done / steps)
            error = self._error(training, held)
            if not math.isfinite(error):
                return BlockReport(index, before, before, epoch, NO_NUMBER)
            if error >= best:
                break
            best = error
            training.remember()
        return BlockReport(index, before, best, epoch)

    def _error(self, training: _Training, held: Sequence[tuple[BlockCall, Tensor]]) -> float:
        """Mean over the tokens held out, with the values as the result would keep them."""
        weights, distances = training.as_kept(), []
        for call, target in held:
            check_stop(self._stop)
            distances.append(_distances(weights, call, target).flatten())
        return float(torch.cat(distances).double().mean())


def _distances(weights: dict[str, Tensor], call: BlockCall, target: Tensor) -> Tensor:
    """Of every token (windows, length): the squared distance of the block's output from the target, divided by the
    target's squared norm. Undivided, a few tokens of huge norm would be all that counts."""
    target = target.float()
    squares = (call.output(weights) - target).square().sum(dim=-1)
    return squares / target.square().sum(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)


def held_out(batches: int) -> int:
    """How many micro-batches are held out of the training: the last ones, at least one."""
    return max(1, batches // HELD_OUT)


class _Training:
    """The values of one block in training: float32 copies, as its parameters lie in the block."""

    def __init__(
        self, block: nn.Module, layers: Sequence[Layer], norms: Sequence[Norm], result: Pruning
    ) -> None:
        self._layers, self._norms = layers, norms
        self._dtype = layers[0].stored.dtype
        self._names = {parameter: name for name, parameter in block.named_parameters()}
        self._masks: dict[str, Tensor] = {}
        self._best: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        for layer in layers:
            self._take(layer, result)
        for norm in norms:
            self.values[self._names[norm.parameter]] = norm.stored.float().clone()
        # What is not trained computes in float32, too: gradients in float16 would vanish.
        state = dict(block.named_parameters()) | dict(block.named_buffers())
        self._fixed = {
            name: tensor.data.float()
            for name, tensor in state.items()
            if tensor.is_floating_point() and tensor.dtype != torch.float32 and name not in self.values
        }
        for value in self.values.values():
            value.requires_grad_()

    def _take(self, layer: Layer, result: Pruning) -> None:
        name = self._names[layer.parameter]
        weight, mask = result.weight(layer).float(), result.masks[layer.name].unpack(layer.stored.device)
        if not isinstance(layer, ExpertLayer):
            self.values[name] = (weight.t() if layer.transposed else weight).contiguous().clone()
            self._masks[name] = (mask.t() if layer.transposed else mask).contiguous()
            return
        if name not in self.values:
            self.values[name] = layer.whole.float().clone()
            self._masks[name] = torch.zeros_like(layer.whole, dtype=torch.bool)
        self.values[name][layer.expert] = weight
        self._masks[name][layer.expert] = mask

    def weights(self) -> dict[str, Tensor]:
        """All of the block's weights, to train."""
        return self._fixed | self.values

    def as_kept(self) -> dict[str, Tensor]:
        """The same rounded to the model's dtype."""
        return self._fixed | {
            name: value.detach().to(self._dtype).float() for name, value in self.values.items()
        }

    def mask_gradients(self) -> None:
        """Without a gradient, Adam leaves a pruned weight at exactly zero."""
        for name, mask in self._masks.items():
            gradient = self.values[name].grad
            if gradient is not None:  # None: no text reached this layer
                gradient.mul_(mask)

    def remember(self) -> None:
        """These are the best values so far."""
        self._best = {name: value.detach().clone() for name, value in self.values.items()}

    def keep(self, result: Pruning) -> dict[Layer | Norm, Tensor]:
        """Write the best values into the result; what they make of the block's weights, in the model's dtype."""
        weights: dict[Layer | Norm, Tensor] = {}
        for norm in self._norms:
            weights[norm] = self._best[self._names[norm.parameter]].to(norm.stored.dtype)
            result.changed.put(norm.name, weights[norm])
        for layer in self._layers:
            value = self._best[self._names[layer.parameter]]
            if isinstance(layer, ExpertLayer):
                value = value[layer.expert]
            value = value.t() if layer.transposed else value
            mask = result.masks[layer.name].unpack(value.device)
            result.changed.put(layer.name, value[mask].to(layer.stored.dtype))
            weights[layer] = result.weight(layer)
        return weights
