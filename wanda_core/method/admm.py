"""The ADMM update: least squares on the kept weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.masks import keep_highest, prune_count, structured_mask
from wanda_core.method.pattern import Pattern

ADMM_DAMPING = 0.1


ADMM_STEPS = 20


CHOOSING_STEPS = 15
"""In so many of the steps the gradual variant chooses its mask anew, as published."""


PROBED_AFTER = (4, 7)
"""After so many steps on Wanda's mask a row's error tells whether the others are worth their time."""


TAIL_STEPS = 10
"""At most so many conjugate-gradient steps follow on the fixed mask."""


TAIL_GRADIENT = 0.01
"""The tail ends where the gradient on every row's kept weights has at most this share of their target's norm."""


@dataclass(frozen=True)
class AdmmFactor:
    """What the ADMM update needs of a Gram matrix, its inputs scaled to norm 1."""

    dead: Tensor
    """bool, (in_features,): inputs that are always zero."""
    damping: float
    """What was added to the diagonal."""
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
        dead = norms == 0
        norms[dead] = 1
        gram /= norms
        gram /= norms.unsqueeze(1)
        diagonal = gram.diagonal()
        damping = ADMM_DAMPING * diagonal.mean().item()
        diagonal += damping
        with_penalty = gram + torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        lower, failed = torch.linalg.cholesky_ex(with_penalty)
        if failed:
            raise Refused("its Gram matrix cannot be factorised: the inputs are too large for float32")
        return cls(dead, damping, norms, gram, torch.cholesky_inverse(lower))

    @property
    def note(self) -> str:
        """Nothing can go otherwise than published."""
        return ""

    def update(
        self, weight: Tensor, mask: Tensor | None, sparsity: float, pattern: Pattern
    ) -> tuple[Tensor, Tensor]:
        """See `updates.Factor`."""
        if mask is None:
            return gradual_admm(weight, self, sparsity, pattern)
        return admm(weight, self, mask), mask


def admm(weight: Tensor, factor: AdmmFactor, mask: Tensor) -> Tensor:
    """Least squares on the kept weights (Boza, "Fast and Effective Weight Update for Pruned Large Language Models",
    arXiv 2401.02938, algorithm 1) for a mask that is given; `gradual_admm` chooses its own.

    With inputs scaled to norm 1, penalty 1 and damping 0.1, 20 steps of: W' = (G + I)^-1 (G W + Z - U);
    Z = mask * (W' + U); U = U + W' - Z.

    Args:
        weight: (out_features, in_features), any float dtype.
        mask: bool, of the same shape.

    Returns:
        The new weight, float32 (out_features, in_features), zero where pruned.
    """
    dense = weight.float() * factor.norms  # (out, in), as all below
    return _fixed(dense, dense @ factor.gram, factor, mask).div_(factor.norms)


def _fixed(dense: Tensor, target: Tensor, factor: AdmmFactor, mask: Tensor) -> Tensor:
    """The steps on a mask that is given, all (out_features, in_features), weights scaled by their inputs' norms."""
    total, kept = dense, mask.float()
    for _ in range(ADMM_STEPS):
        total = _step(total, kept, target, factor.inverse)
    return total.mul_(kept)


def _step(total: Tensor, kept: Tensor, target: Tensor, inverse: Tensor) -> Tensor:
    """One step of ADMM, all (out_features, in_features): from one `W' + U` to the next.

    Args:
        kept: the mask as float32: a product with it takes a third of the time of one with a bool.
    """
    copied = total * kept  # Z
    dual = total - copied  # U
    return torch.addmm(dual, target + copied - dual, inverse)


def gradual_admm(
    weight: Tensor, factor: AdmmFactor, sparsity: float, pattern: Pattern
) -> tuple[Tensor, Tensor]:
    """Choose the mask while correcting (the gradual variant of the same paper), then conjugate gradients on it.

    In step t < 15 the lowest of `|W' + U|` (weights scaled by their inputs' norms) of every row are pruned, a share of
    `s - s (1 - (t + 1) / 15)^3`; then the mask is fixed. N:M: the N highest of every M are kept all along, the lowest
    of the others are pruned at that rate. The tail is for ill-conditioned inputs, where 20 steps do not suffice.

    A row that Wanda's mask and `admm` leave with less error is taken from there, so that no layer's error is above
    theirs; rows do not depend on each other. Few need all the steps of that second solution, see `_worse_than_given`.

    Args:
        weight: (out_features, in_features), any float dtype.
        sparsity: share of every row to prune, where the pattern is unstructured.

    Returns:
        The new weight, float32 (out_features, in_features), zero where pruned, and the mask, bool of the same shape.
    """
    # A weight of an input that is always zero is pruned first.
    dense = (weight.float() * factor.norms).masked_fill_(factor.dead, 0)  # (out, in), as all below
    target = dense @ factor.gram
    total = dense
    for step in range(ADMM_STEPS):
        if step < CHOOSING_STEPS:
            mask = _choose(total.abs(), step, sparsity, pattern)
            kept = mask.float()
        total = _step(total, kept, target, factor.inverse)
    chosen = _tail(total.mul_(kept), target, factor.gram, mask)
    given = _choose(dense.abs(), CHOOSING_STEPS - 1, sparsity, pattern)  # Wanda's
    worse, fixed = _worse_than_given(_errors(chosen - dense, factor), given, dense, target, factor)
    chosen[worse], mask[worse] = fixed, given[worse]
    return chosen.div_(factor.norms), mask


def _worse_than_given(
    errors: Tensor, given: Tensor, dense: Tensor, target: Tensor, factor: AdmmFactor
) -> tuple[Tensor, Tensor]:
    """Rows that `_fixed` leaves with less than `errors`, and its weights for them.

    From step to step a row gains less, a third of the steps before or so. A row that could not come down to its
    `errors` by gaining once more what its last three steps gained is given up early.

    Args:
        errors: squared output errors, (out_features,).
        given: the mask, bool (out_features, in_features), as wide as all below.

    Returns:
        Their numbers (rows,), and weights (rows, in_features).
    """
    rows = torch.arange(len(dense), device=dense.device)
    total, kept = dense, given.float()
    for step in range(ADMM_STEPS):
        total = _step(total, kept, target, factor.inverse)
        if step + 1 == PROBED_AFTER[0]:
            before = _errors(total * kept - dense, factor)
        elif step + 1 == PROBED_AFTER[1]:
            after = _errors(total * kept - dense, factor)
            rows = (errors > 2 * after - before).nonzero().flatten()
            if not len(rows):
                break
            total, kept, target = total[rows], kept[rows], target[rows]
    fixed = total.mul_(kept) if len(rows) else total[rows]
    better = _errors(fixed - dense[rows], factor) < errors[rows]
    return rows[better], fixed[better]


def _errors(change: Tensor, factor: AdmmFactor) -> Tensor:
    """Squared output error of every row, (out_features,), without the damping."""
    return ((change @ factor.gram).sub_(change, alpha=factor.damping) * change).sum(dim=1)


def _choose(scores: Tensor, step: int, sparsity: float, pattern: Pattern) -> Tensor:
    """The mask of one choosing step, bool (out_features, in_features); the scores may be written to."""
    share = 1 - (1 - (step + 1) / CHOOSING_STEPS) ** 3
    if not pattern.structured:
        return keep_highest(scores, prune_count(scores.shape[1], sparsity * share))
    highest = structured_mask(scores, pattern.keep, pattern.among)
    if step == CHOOSING_STEPS - 1:
        return highest
    others = scores.masked_fill_(highest, torch.inf)
    return keep_highest(others, prune_count(scores.shape[1], pattern.sparsity * share))


def _tail(start: Tensor, target: Tensor, gram: Tensor, mask: Tensor) -> Tensor:
    """Conjugate gradients for `W' G = target` on the kept weights, for the rows whose gradient is not small yet.

    Each step lowers every row's error, so that the tail never makes it worse.

    Args:
        start: (out_features, in_features), zero where pruned; it is written to.
    """
    gradient = (target - start @ gram).mul_(mask)
    goal = TAIL_GRADIENT * (target * mask).norm(dim=1)
    rows = (gradient.norm(dim=1) > goal).nonzero().flatten()
    if not len(rows):
        return start
    solution, gradient, mask, goal = start[rows], gradient[rows], mask[rows], goal[rows]
    direction, square = gradient.clone(), gradient.square().sum(dim=1, keepdim=True)  # square: (rows, 1)
    for _ in range(TAIL_STEPS):
        image = (direction @ gram).mul_(mask)
        curvature = (direction * image).sum(dim=1, keepdim=True)
        length = torch.where(curvature > 0, square / curvature, 0)
        solution.addcmul_(length, direction)
        gradient.addcmul_(length, image, value=-1)
        before, square = square, gradient.square().sum(dim=1, keepdim=True)
        if (square.squeeze(1).sqrt() <= goal).all():
            break
        direction = torch.addcmul(gradient, torch.where(before > 0, square / before, 0), direction)
    start[rows] = solution
    return start
