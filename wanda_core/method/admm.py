"""The ADMM update: least squares on the kept weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.pattern import Pattern

ADMM_DAMPING = 0.1


ADMM_STEPS = 20


@dataclass(frozen=True)
class AdmmFactor:
    """What the ADMM update needs of a Gram matrix, its inputs scaled to norm 1."""

    norms: Tensor
    """float32, (in_features,): norms of the inputs; 1 where always zero."""
    gram: Tensor
    """(in_features, in_features), of the scaled inputs, with damping on the diagonal."""
    inverse: Tensor
    """`(gram + I)^-1`, of the same shape."""

    @classmethod
    def of(cls, gram: Tensor) -> AdmmFactor:
        """From a Gram matrix, float32 (in_features, in_features); it is written to.

        Raises:
            Refused: it holds values beyond float32. (With inputs of norm 1 and the penalty, any other is definite.)
        """
        norms = gram.diagonal().clamp_min(0).sqrt()
        norms[norms == 0] = 1
        gram /= norms
        gram /= norms.unsqueeze(1)
        diagonal = gram.diagonal()
        diagonal += ADMM_DAMPING * diagonal.mean()
        with_penalty = gram + torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        lower, failed = torch.linalg.cholesky_ex(with_penalty)
        if failed:
            raise Refused("its Gram matrix cannot be factorised: the inputs are too large for float32")
        return cls(norms, gram, torch.cholesky_inverse(lower))

    @property
    def note(self) -> str:
        """Nothing can go otherwise than published."""
        return ""

    def update(
        self, weight: Tensor, mask: Tensor | None, sparsity: float, pattern: Pattern
    ) -> tuple[Tensor, Tensor]:
        """See `updates.Factor`."""
        assert mask is not None  # it goes with a score
        return admm(weight, self, mask), mask


def admm(weight: Tensor, factor: AdmmFactor, mask: Tensor) -> Tensor:
    """Least squares on the kept weights (Boza, "Fast and Effective Weight Update for Pruned Large Language Models",
    arXiv 2401.02938, algorithm 1) for a mask that is given; the paper's gradual choice of the mask is not part of it.

    With inputs scaled to norm 1, penalty 1 and damping 0.1, 20 steps of: W' = (G + I)^-1 (G W + Z - U);
    Z = mask * (W' + U); U = U + W' - Z.

    Args:
        weight: (out_features, in_features), any float dtype.
        mask: bool, of the same shape.

    Returns:
        The new weight, float32 (out_features, in_features), zero where pruned.
    """
    dense = weight.float() * factor.norms  # (out, in), as all below
    target = dense @ factor.gram
    solved, dual = dense, torch.zeros_like(dense)
    for _ in range(ADMM_STEPS):
        kept = (solved + dual) * mask
        dual += solved - kept
        solved = (target + kept - dual) @ factor.inverse
    return (solved + dual).mul_(mask).div_(factor.norms)
