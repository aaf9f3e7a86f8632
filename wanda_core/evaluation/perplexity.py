"""Perplexity, with its protocol and an interval."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wanda_core.errors import check_stop
from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.evaluation.student_t import t_quantile
from wanda_core.machine import free_bytes, refused_if_out_of_memory
from wanda_core.models.block_stream import BlockStream, stream_of
from wanda_core.texts.windows import check_windows

POSITIONS = 64
"""Positions taken in float32 at a time: over a large vocabulary they fill memory, and so few stay in the cache."""

POSITIONS_ON_CUDA = 512
"""There small kernels leave most of the device idle."""


OnProgress = Callable[[float, str], None]
"""Called with the share done, and where in text or model it is."""


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood per predicted token.

    Protocol: the text is cut into windows without overlap; within each window every token but the first is predicted
    from those before it, as in the GPTQ, SparseGPT and Wanda papers.
    """

    value: float
    low: float | None
    """Lower end of a 95% interval: Student's t over the windows' mean losses; None for one window."""
    high: float | None
    window_losses: list[float]
    """Mean negative log-likelihood of every window, in nats; the mean of these is `log(value)`."""
    kl_to_dense: float | None = None
    """Mean over predicted tokens of KL(dense || this), in nats; see `DenseAnswers` for where it is a lower bound. None
    where there was no dense model to hold it against."""
    top1_changed: float | None = None
    """Share of the predicted tokens whose likeliest candidate is another than in the dense model."""


def perplexity(
    network: Any,
    windows: Tensor,
    *,
    dense: DenseAnswers | None = None,
    record: DenseAnswers | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Perplexity:
    """Perplexity of a causal language model as it computes now. One forward for each window serves all figures; where
    the weights lie in files, all windows go through one block before any goes on, and each weight is read once.

    Args:
        network: a transformers causal language model, in eval mode.
        windows: int64 (windows, length), length 2 or more.
        dense: the dense model's answers on the same windows, to hold this model against.
        record: `network` is the dense model: its answers are written into this, and it is held against itself.

    Raises:
        Stopped: `stop` was set.
        Refused: the windows hold a token that the model lacks, the device's memory does not hold the logits of one, or
            `dense` is of other windows.
    """
    check_windows("evaluation", windows, network)
    if dense is not None:
        dense.check(windows)
    device = next(network.parameters()).device
    evaluation = _Evaluation(network, windows.to(device), dense, record)
    too_much = f"out of memory on {device} while evaluating {windows.shape[1]} tokens: lower {{eval_length}}"
    stream = stream_of(network)
    if stream is not None:
        with refused_if_out_of_memory(too_much):
            evaluation.add_together(stream, on_progress, stop)
    for index in range(len(windows) if stream is None else 0):
        check_stop(stop)
        with refused_if_out_of_memory(too_much):
            evaluation.add(index)
        if on_progress:
            on_progress((index + 1) / len(windows), f"window {index + 1} of {len(windows)}")
    if record is not None:
        record.finish(windows)
    return evaluation.result()


class _Evaluation:
    """Sums over the windows seen so far; windows are on the model's device."""

    def __init__(
        self, network: Any, windows: Tensor, dense: DenseAnswers | None, record: DenseAnswers | None
    ) -> None:
        self._network = network
        self._windows = windows
        self._dense = dense
        self._record = record
        self._losses: list[float] = []
        self._divergence = 0.0
        self._changed = 0

    @torch.no_grad()
    def add_together(
        self, stream: BlockStream, on_progress: OnProgress | None, stop: threading.Event | None
    ) -> None:
        """Evaluate all windows, each weight brought into memory once for as many of them as memory holds."""
        size = self._waiting(stream)
        groups = range(0, len(self._windows), size)
        for number, start in enumerate(groups):

            def tell(done: int, number: int = number) -> None:
                part = min(done, stream.parts)
                if on_progress:
                    share = (number + part / stream.parts) / len(groups)
                    on_progress(share, f"part {part} of {stream.parts}, windows from {size * number + 1}")

            indices = range(start, min(start + size, len(self._windows)))
            stream.together([partial(self._add, index) for index in indices], on_part=tell, stop=stop)

    def _waiting(self, stream: BlockStream) -> int:
        """How many windows may wait before a part together: half of what is free, as a block's insides and one window's
        logits come on top. Each holds its embeddings, its stream and what a block has made of it."""
        hidden = self._network.config.get_text_config().hidden_size
        each = 3 * self._windows.shape[1] * hidden * stream.dtype.itemsize
        return max(1, (free_bytes(self._windows.device) - stream.largest) // 2 // each)

    @torch.inference_mode()
    def add(self, index: int) -> None:
        """Evaluate one window."""
        self._add(index)

    def _add(self, index: int) -> None:
        window = self._windows[index]
        logits = self._network(input_ids=window[None], use_cache=False).logits[
            0, :-1
        ]  # (length - 1, vocabulary)
        targets = window[1:]
        if self._record is not None and index == 0:
            self._record.begin(self._windows, logits.shape[1])
        loss = torch.zeros((), dtype=torch.float64, device=logits.device)
        step = POSITIONS if logits.device.type == "cpu" else POSITIONS_ON_CUDA
        for start in range(0, len(targets), step):
            logs = logits[start : start + step].float().log_softmax(dim=-1)
            loss -= logs.gather(1, targets[start : start + step, None]).double().sum()
            first = index * len(targets) + start
            at = slice(first, first + len(logs))
            if self._record is not None:
                self._record.write(at, logs)
            if self._dense is not None:
                self._divergence += self._dense.divergence(at, logs)
                self._changed += self._dense.changed(at, logs)
        self._losses.append(loss.item() / len(targets))

    def result(self) -> Perplexity:
        value, low, high = _interval(self._losses)
        kl, changed = None, None
        if self._record is not None:
            kl, changed = 0.0, 0.0  # the dense model against itself
        elif self._dense is not None:
            predicted = self._windows.shape[0] * (self._windows.shape[1] - 1)
            kl, changed = self._divergence / predicted, self._changed / predicted
        return Perplexity(value, low, high, self._losses, kl, changed)


def _interval(losses: list[float]) -> tuple[float, float | None, float | None]:
    """Perplexity and its 95% interval, from the windows' mean losses."""
    values = torch.tensor(losses, dtype=torch.float64)
    mean = values.mean().item()
    if len(losses) == 1:
        return _exp(mean), None, None
    margin = t_quantile(len(losses) - 1) * values.std().item() / math.sqrt(len(losses))
    return _exp(mean), _exp(mean - margin), _exp(mean + margin)


def _exp(nats: float) -> float:
    """exp, infinite where it overflows: a broken model's perplexity has no number but is no error."""
    return math.exp(nats) if nats < 700 else math.inf
