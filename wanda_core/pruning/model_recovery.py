"""Recovery of the whole model: the kept weights and norms of all blocks trained together on the calibration text.

The loss of a token is the mean of its negative log-likelihood and of KL(dense || pruned) at its place (distillation,
Hinton et al., arXiv 1503.02531), with the masks fixed. What a block returns is kept for the gradient, its insides are
computed a second time (Chen et al., arXiv 1604.06174).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, kl_div
from torch.utils.checkpoint import checkpoint

from wanda_core.errors import check_stop
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.models.replaced_forward import ReplacedForward
from wanda_core.pruning.recovery import BETAS, CLIP, EPOCHS, held_out
from wanda_core.pruning.result import ModelReport, Pruning
from wanda_core.pruning.training import Training

RATE = 1e-4
"""Adam's learning rate at the first step; it falls linearly to 0."""
ACCUMULATED = 2
"""Micro-batches whose gradients make one step."""
LOOKS = 2
"""Times that the windows held out are looked at in an epoch."""
NO_NUMBER = "the loss turned NaN in its recovery: left as decided"


class _Step(nn.Module):
    """The network and its loss. The backward pass runs inside the call, where the trained values still stand in for
    the network's own: what is computed a second time computes with them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor, dense: Tensor, share: float) -> Tensor:
        """The loss (,) of windows (windows, length), whose gradients are added with a factor `share`."""
        logits = self.network(input_ids=windows, use_cache=False).logits[:, :-1].flatten(0, 1).float()
        said = cross_entropy(logits, windows[:, 1:].flatten())
        told = kl_div(logits.log_softmax(-1), dense, log_target=True, reduction="batchmean")
        loss = (said + told) / 2
        (share * loss).backward()
        return loss.detach()


@torch.no_grad()
def recover_model(
    prunable: PrunableModel,
    tokens: Tensor,
    result: Pruning,
    *,
    micro_batch: int,
    on_progress: Callable[[float, str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Train all of a pruning's kept weights and norms, and write values and report into it.

    Memory: the trained values in float32, their gradients, Adam's two moments and the best values so far.

    Args:
        tokens: calibration windows, int64 (samples, length), on the model's device; the last ones are held out.
        on_progress: called with the share done, and the latest perplexity on the windows held out.

    Raises:
        Stopped: `stop` was set.
    """
    layers = [layer for layer in prunable.layers if layer.name in result.masks]
    training = Training(prunable.network, layers, prunable.norms, result)
    batches = list(tokens.split(micro_batch))
    held = held_out(len(batches))
    run = _Run(prunable, training, batches[:-held], batches[-held:], stop)
    report = run.train(result.recipe.seed, on_progress or (lambda done, where: None))
    result.recovered_model = report
    if not report.note and report.after < report.before:
        training.keep(result)


class _Run:
    """One training: its windows, its optimiser, its curve."""

    def __init__(
        self,
        prunable: PrunableModel,
        training: Training,
        batches: list[Tensor],
        held: list[Tensor],
        stop: threading.Event | None,
    ) -> None:
        self._prunable, self._training, self._stop = prunable, training, stop
        self._batches, self._held = batches, held
        self._step = _Step(prunable.network)

    def train(self, seed: int, on_progress: Callable[[float, str], None]) -> ModelReport:
        curve = [(0, self._perplexity())]
        best = curve[0][1]
        if not math.isfinite(best):
            return ModelReport(curve, NO_NUMBER)
        values = list(self._training.values.values())
        optimiser = torch.optim.Adam(values, lr=RATE, betas=BETAS)
        per_epoch = -(-len(self._batches) // ACCUMULATED)
        steps = EPOCHS * per_epoch
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        generator = torch.Generator().manual_seed(seed)  # the same order for the same recipe
        looks = {round(per_epoch * (look + 1) / LOOKS) for look in range(LOOKS)}
        done = 0
        for _ in range(EPOCHS):
            lower = False
            order = torch.randperm(len(self._batches), generator=generator).split(ACCUMULATED)
            for place, together in enumerate(order, start=1):
                if not self._add_gradients(together.tolist()):
                    return ModelReport(curve, NO_NUMBER)
                self._training.mask_gradients()
                torch.nn.utils.clip_grad_norm_(values, CLIP)
                optimiser.step()
                schedule.step()
                optimiser.zero_grad(set_to_none=True)
                done += 1
                if place in looks:
                    curve.append((done, self._perplexity()))
                    if not math.isfinite(curve[-1][1]):
                        return ModelReport(curve, NO_NUMBER)
                    if curve[-1][1] < best:
                        best, lower = curve[-1][1], True
                        self._training.remember()
                on_progress(done / steps, f"recovery, perplexity on windows held out {curve[-1][1]:.4g}")
            if not lower:
                break
        return ModelReport(curve)

    def _add_gradients(self, together: list[int]) -> bool:
        """Of these micro-batches' mean loss; whether it is a number."""
        weights = {f"network.{name}": value for name, value in self._training.weights().items()}
        for index in together:
            check_stop(self._stop)
            windows = self._batches[index]
            dense = self._prunable.network(input_ids=windows, use_cache=False).logits[:, :-1]
            dense = dense.flatten(0, 1).float().log_softmax(-1)
            with torch.enable_grad(), _computed_twice(self._prunable):
                loss = functional_call(self._step, weights, (windows, dense, 1 / len(together)))
            if not torch.isfinite(loss):
                return False
        return True

    def _perplexity(self) -> float:
        """On the windows held out, with the values as the result would keep them."""
        weights, losses = self._training.as_kept(), []
        for windows in self._held:
            check_stop(self._stop)
            kwargs = {"input_ids": windows, "use_cache": False}
            logits = functional_call(self._prunable.network, weights, (), kwargs).logits[:, :-1]
            targets = windows[:, 1:].flatten()
            losses.append(cross_entropy(logits.flatten(0, 1).float(), targets, reduction="none"))
        return float(torch.cat(losses).double().mean().exp())


@contextmanager
def _computed_twice(prunable: PrunableModel) -> Iterator[None]:
    """Every block keeps what it was given alone, and computes its insides again for the gradient."""
    replaced = [
        ReplacedForward(block, partial(checkpoint, block.forward, use_reentrant=False))
        for block in prunable.blocks
    ]
    try:
        yield
    finally:
        for each in replaced:
            each.remove()
