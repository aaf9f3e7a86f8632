"""What a layer's input looks like over the calibration text: column norms, Gram matrix, and a sample of rows."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLE_ROWS = 128
"""Input rows kept of each layer to measure its output error on."""


SAMPLE_ROWS_PER_WINDOW = 32
"""At most this many rows from one calibration window, so that the sample covers several texts."""


WIDE = 1024
"""From this width on only the lower triangle of a Gram matrix is computed, in `PANELS` panels of columns."""


PANELS = 4


FEW = 16
"""Rows whose squares are added up in float32."""


class InputStatistics:
    """Statistics of one layer's input, gathered micro-batch by micro-batch.

    Args:
        features: width of the input, `in_features`.
        device: where to accumulate.
        window: tokens of one calibration window; sets how the sample is spread.
        gram: also gather the Gram matrix `X^T X`, `features * features` float32 values.
    """

    def __init__(self, features: int, device: torch.device, window: int, gram: bool = False) -> None:
        self.tokens = 0
        self._squares = torch.zeros(features, dtype=torch.float64, device=device)
        self._gram = torch.zeros(features, features, device=device) if gram else None
        self._stride = max(1, window // SAMPLE_ROWS_PER_WINDOW)
        self._sample: list[Tensor] = []
        self._sampled = 0

    def add(self, inputs: Tensor) -> None:
        """Count in one micro-batch of inputs, shape (..., in_features), any float dtype."""
        rows = inputs.detach().reshape(-1, inputs.shape[-1])  # (tokens, in)
        # Summed in float32 over a few rows, in float64 over all: rounding must not decide which of two near-equal
        # weights goes, for every later layer would see it. (float64 alone is 6 times slower, vector_norm 5 to 30.)
        squares = rows.float().square()
        few = squares.shape[0] // FEW * FEW
        self._squares += (
            squares[:few].view(-1, FEW, squares.shape[1]).sum(dim=1).sum(dim=0, dtype=torch.float64)
        )
        self._squares += squares[few:].sum(dim=0)
        self.tokens += rows.shape[0]
        if self._gram is not None:
            self._add_to(self._gram, rows.float())
        if self._sampled < SAMPLE_ROWS:
            chosen = rows[:: self._stride][: SAMPLE_ROWS - self._sampled].clone()
            self._sample.append(chosen)
            self._sampled += chosen.shape[0]

    def _add_to(self, gram: Tensor, rows: Tensor) -> None:
        features = rows.shape[1]
        panel = features if features < WIDE else -(-features // PANELS)
        for start in range(0, features, panel):
            columns = rows[:, start : start + panel]
            gram[start:, start : start + panel].addmm_(rows[:, start:].t(), columns)

    def norms(self) -> Tensor:
        """L2 norm of every input feature over all tokens seen, float32, shape (in_features,)."""
        return self._squares.sqrt().float()

    def gram(self) -> Tensor:
        """`X^T X` over all tokens seen, float32, shape (in_features, in_features), symmetric; a copy."""
        assert self._gram is not None, "asked of statistics that were to have no Gram matrix"
        return torch.tril(self._gram) + torch.tril(self._gram, -1).t()

    def sample(self) -> Tensor:
        """Up to `SAMPLE_ROWS` of the input rows, shape (rows, in_features), in the input's dtype."""
        return torch.cat(self._sample)
