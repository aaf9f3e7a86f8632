"""How important is a weight? One short function for each answer; low scores are pruned first.

A score function takes the layer's weight `(out_features, in_features)` in float32, the L2 norms of its input
features `(in_features,)` in float32, and a seeded generator; it returns scores of the weight's shape. To add one,
write the function and put it in `SCORES`: the app, the command line and the tests take it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def magnitude(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """`|W|`."""
    return weight.abs()


def wanda(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """`|W_ij| * ||X_j||_2` (Sun et al., arXiv 2306.11695, equation 1)."""
    return weight.abs().mul_(norms)


def random(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise: what any method must beat."""
    return torch.rand(weight.shape, generator=generator).to(weight.device)


@dataclass(frozen=True)
class Score:
    """A score function and whether it looks at the input norms (else no calibration forward is needed)."""

    function: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    needs_norms: bool


SCORES: dict[str, Score] = {
    "magnitude": Score(magnitude, needs_norms=False),
    "wanda": Score(wanda, needs_norms=True),
    "random": Score(random, needs_norms=False),
}
