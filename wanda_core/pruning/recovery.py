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
from wanda_core.models.prunable_layers import Layer, PrunableModel
from wanda_core.pruning.dense_stream import hidden_of
from wanda_core.pruning.result import BlockReport, Pruning
from wanda_core.pruning.training import Training

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
        training = Training(self._prunable.blocks[index], layers, norms, self._result)
        held = held_out(len(calls))
        batches = list(zip(calls, targets, strict=True))
        report = self._train(index, training, batches[:-held], batches[-held:], on_progress)
        self._result.recovered.append(report)
        if report.note or report.after >= report.before:
            return {layer: self._result.unrounded(layer) for layer in layers}
        return training.keep(self._result)

    def _train(
        self,
        index: int,
        training: Training,
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

    def _error(self, training: Training, held: Sequence[tuple[BlockCall, Tensor]]) -> float:
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
