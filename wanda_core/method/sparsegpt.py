"""SparseGPT: choose weights and make up for each pruned one in the kept weights right of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.masks import keep_highest, prune_count
from wanda_core.method.pattern import Pattern

BLOCK = 128
"""Columns that SparseGPT chooses among at a time, as published."""


STEP = 16
"""Columns of a block that are brought up to date together where the pattern does not say: for speed alone."""


DAMPING = 0.01
"""Share of the mean diagonal that is added to the diagonal before it is factorised, as published."""


RETRIES = 4
"""How often damping is raised tenfold where the factorisation fails."""


@dataclass(frozen=True)
class SparseGptFactor:
    """The upper triangular U with `U^T U = (G + damping)^-1`, and the inputs that are always zero."""

    upper: Tensor
    """float32, (in_features, in_features)."""
    dead: Tensor
    """bool, (in_features,)."""
    damping: float
    """Share of the mean diagonal that was added."""

    @classmethod
    def of(cls, gram: Tensor) -> SparseGptFactor:
        """Factorise a Gram matrix, float32 (in_features, in_features); it is written to.

        A dead input's diagonal is set to 1, as published. Damping grows tenfold as long as the factorisation fails.

        Raises:
            Refused: it fails with the largest damping, too.
        """
        diagonal = gram.diagonal()
        dead = diagonal == 0
        diagonal[dead] = 1
        mean, damping = diagonal.mean().item(), DAMPING
        diagonal += damping * mean
        for _ in range(RETRIES + 1):
            upper = _inverse_factor(gram)
            if upper is not None:
                return cls(upper, dead, damping)
            diagonal += 9 * damping * mean
            damping *= 10
        raise Refused(f"its Gram matrix cannot be factorised even with {damping / 10:.0%} damping")

    def update(
        self, weight: Tensor, mask: Tensor | None, sparsity: float, pattern: Pattern
    ) -> tuple[Tensor, Tensor]:
        """See `updates.Factor`; it chooses the mask itself."""
        return sparsegpt(weight, self, sparsity, pattern)

    @property
    def note(self) -> str:
        """What the report of a layer must say; empty where all went as published."""
        if self.damping == DAMPING:
            return ""
        return f"the factorisation failed at 1% damping and was repeated with {self.damping:.0%}"


def _inverse_factor(gram: Tensor) -> Tensor | None:
    """U, upper triangular, with `U^T U = G^-1`; None where G is not positive definite in float32.

    Reversing rows and columns turns Cholesky's `L L^T` into `R R^T = G` with R upper triangular; then U is the inverse
    of R. One factorisation and one triangular inverse, where the published code needs two and a full inverse.
    """
    lower, failed = torch.linalg.cholesky_ex(gram.flip(0, 1))
    if failed:
        return None
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    upper = torch.linalg.solve_triangular(lower, identity, upper=False).flip(0, 1)
    return upper if torch.isfinite(upper).all() else None


def sparsegpt(
    weight: Tensor, factor: SparseGptFactor, sparsity: float, pattern: Pattern
) -> tuple[Tensor, Tensor]:
    """Choose and correct, block of columns by block of columns (Frantar and Alistarh, arXiv 2301.00774, algorithm 1).

    The error `w_j / U_jj` of each pruned weight is made up for by the columns right of it. Unstructured: of every
    128 columns the `floor(n * sparsity)` weights of lowest `w^2 / U_jj^2` are pruned, over all rows. N:M: chosen at
    every M columns, from the weights as corrected until there. Weights of inputs that are always zero become zero.

    Args:
        weight: (out_features, in_features), any float dtype.
        sparsity: share of every block to prune, where the pattern is unstructured.

    Returns:
        The new weight, float32 (out_features, in_features), zero where pruned, and the mask, bool of the same shape.
    """
    rows, width = weight.shape
    upper = factor.upper
    # One row for each input: what one step reads and writes lies in one piece.
    dense = weight.float().masked_fill(factor.dead, 0).t().contiguous()  # (in, out)
    errors = torch.zeros_like(dense)  # w_j / U_jj where pruned, 0 where kept
    result = torch.empty_like(dense)
    mask = torch.ones(width, rows, dtype=torch.bool, device=weight.device)
    step = pattern.among if pattern.structured else STEP
    # A group of M columns is never split: blocks of 128 columns, or the next multiple of M.
    block = -(-BLOCK // step) * step
    for start in range(0, width, block):
        stop = min(start + block, width)
        current = dense[start:stop] - upper[:start, start:stop].t() @ errors[:start]
        if not pattern.structured:
            mask[start:stop] = _prune_lowest(current, upper, start, prune_count(current.numel(), sparsity))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            fresh = current[first - start : last - start] - (
                upper[start:first, first:last].t() @ errors[start:first]
            )
            if pattern.structured:
                scores = _sparsegpt_scores(fresh, upper, first).t()
                mask[first:last] = keep_highest(scores, pattern.among - pattern.keep).t()
            _correct(fresh, upper[first:last, first:last], mask[first:last], errors[first:last])
            result[first:last] = fresh
    return result.masked_fill_(~mask, 0).t(), mask.t()


def _sparsegpt_scores(current: Tensor, upper: Tensor, start: int) -> Tensor:
    """`w^2 / U_jj^2`, (columns, out_features), of the columns from `start` on."""
    diagonal = upper.diagonal()[start : start + len(current)]
    return (current / diagonal.unsqueeze(1)).square_()


def _prune_lowest(current: Tensor, upper: Tensor, start: int, prune: int) -> Tensor:
    """The mask of one block, (columns, out_features): the weights of all rows compete."""
    scores = _sparsegpt_scores(current, upper, start).t()  # (out, columns): equal scores go row by row
    return keep_highest(scores.reshape(1, -1), prune).view(scores.shape).t()


def _correct(fresh: Tensor, upper: Tensor, mask: Tensor, errors: Tensor) -> None:
    """Column by column: take up the errors of the columns before, then leave an error where the weight is pruned.

    Args:
        fresh: (columns, out_features), corrected for everything left of these columns; corrected in place.
        upper: their part of U, (columns, columns).
        mask: (columns, out_features).
        errors: (columns, out_features), written.
    """
    shares = (~mask).to(fresh.dtype) / upper.diagonal().unsqueeze(1)  # 1 / U_jj where pruned, 0 where kept
    for column in range(len(fresh)):
        if column:
            fresh[column].addmv_(errors[:column].t(), upper[:column, column], alpha=-1)
        torch.mul(fresh[column], shares[column], out=errors[column])
