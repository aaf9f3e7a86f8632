"""What the dense model answers at every position of a text, kept so that pruned models can be held against it."""

from __future__ import annotations

import torch
from torch import Tensor

from wanda_core.errors import Refused

MOST_BYTES = 512 * 2**20
"""Up to here whole distributions are kept: 8 windows of 256 tokens over a vocabulary of 49,152 take 401 MB."""

TOP = 128
"""Tokens kept of each position beyond that: the likeliest. 1 KiB a position."""


class DenseAnswers:
    """The dense model's next-token distributions over evaluation windows; filled by `perplexity(..., record=...)`.

    Where they fit into `most_bytes`, whole distributions are kept, and `divergence` is the KL divergence itself, in
    float32. Where they do not, only the `TOP` likeliest tokens of each position are, all others together counting as
    one more token: the divergence between distributions so merged is a lower bound of the true one (log sum
    inequality), short by what happens among the tokens merged.

    The first choices are exact in both cases. All is kept in the computer's memory, not in an accelerator's.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.windows: Tensor | None = None
        """The evaluation windows, int64 (windows, length); None until the dense model has been evaluated."""
        self.exact = True
        """Whole distributions are kept."""
        self._probabilities = torch.empty(0)  # (positions, vocabulary) or (positions, TOP), float32
        self._tokens: Tensor | None = None  # of `_probabilities`, int64 (positions, TOP); None: all, in order
        self._entropy = torch.empty(0)  # sum p log p of every position, float64 (positions,)
        self._first = torch.empty(0)  # the likeliest token, int64 (positions,)

    @property
    def nbytes(self) -> int:
        kept = (self._probabilities, self._tokens, self._entropy, self._first)
        return sum(part.nbytes for part in kept if part is not None)

    def begin(self, windows: Tensor, vocabulary: int) -> None:
        """Make room for the answers on these windows; `finish` says that they are all there."""
        self.windows = None
        positions = windows.shape[0] * (windows.shape[1] - 1)
        self.exact = positions * vocabulary * 4 <= self.most_bytes
        width = vocabulary if self.exact else min(TOP, vocabulary)
        self._probabilities = torch.empty(positions, width)
        self._tokens = None if self.exact else torch.empty(positions, width, dtype=torch.int64)
        self._entropy = torch.empty(positions, dtype=torch.float64)
        self._first = torch.empty(positions, dtype=torch.int64)

    def write(self, at: slice, log_probabilities: Tensor) -> None:
        """Keep the answers at these positions, counted through all windows.

        Args:
            log_probabilities: float32 (positions, vocabulary), on any device.
        """
        self._first[at] = log_probabilities.argmax(dim=-1).cpu()
        if self._tokens is not None:
            self._tokens[at] = log_probabilities.topk(self._tokens.shape[1], dim=-1).indices.cpu()
        logs = self._kept(at, log_probabilities)
        probabilities = logs.exp()
        self._probabilities[at] = probabilities.cpu()
        self._entropy[at] = _expected(probabilities, logs).cpu()
        if self._tokens is not None:
            tail, log_tail = _tail(probabilities)
            self._entropy[at] += (tail * log_tail).cpu()

    def finish(self, windows: Tensor) -> None:
        self.windows = windows.cpu().clone()

    def check(self, windows: Tensor) -> None:
        """
        Raises:
            Refused: the answers are of other windows, or there are none.
        """
        if self.windows is None or not torch.equal(self.windows, windows.cpu()):
            raise Refused("the dense model has not been evaluated on these windows: evaluate it first")

    def divergence(self, at: slice, log_probabilities: Tensor) -> float:
        """Sum over the positions of KL(dense || this), in nats.

        Args:
            log_probabilities: of the model to be held against the dense one, float32 (positions, vocabulary).
        """
        logs = self._kept(at, log_probabilities)
        probabilities = self._probabilities[at].to(logs.device)
        expected = _expected(probabilities, logs)
        if self._tokens is not None:
            tail, _ = _tail(probabilities)
            _, log_tail = _tail(logs.exp())
            expected += tail * log_tail
        return (self._entropy[at].to(expected.device) - expected).sum().item()

    def changed(self, at: slice, log_probabilities: Tensor) -> int:
        """How many of the positions have another likeliest token than in the dense model."""
        first = log_probabilities.argmax(dim=-1)
        return int((first != self._first[at].to(first.device)).sum())

    def _kept(self, at: slice, log_probabilities: Tensor) -> Tensor:
        """The log-probabilities of the tokens that are kept at each position."""
        if self._tokens is not None:
            log_probabilities = log_probabilities.gather(1, self._tokens[at].to(log_probabilities.device))
        # A token that a model rules out has -inf, and 0 * -inf is no number.
        return log_probabilities.clamp(min=-1e30)


def _expected(probabilities: Tensor, logs: Tensor) -> Tensor:
    """sum p log q of every position, float64; by one and the same product for both models, so that equal
    distributions have a divergence of exactly 0."""
    return torch.linalg.vecdot(probabilities, logs).double()


def _tail(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of 1 beside these probabilities, at least 1e-7 (float32 knows no less), and its log; float64."""
    tail = (1 - probabilities.double().sum(dim=-1)).clamp_(min=1e-7)
    return tail, tail.log()
