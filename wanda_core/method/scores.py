"""How important is a weight? One short function for each answer; low scores are pruned first.

A score function takes the layer's weight `(out_features, in_features)` in float32, the L2 norms of its input
features `(in_features,)` in float32, and a seeded generator; it returns scores of the weight's shape. To add one,
write the function and put it in `SCORES`: `METHODS`, the app, the command line and the tests take it from there.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wanda_core.errors import Refused

if TYPE_CHECKING:  # the command line's --help lists the scores and should not wait for torch
    import torch
    from torch import Tensor

TINY = 1e-38
"""In place of a sum of zeros, so that a share of it is zero and not NaN."""


def magnitude(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """`|W|`."""
    return weight.abs()


def wanda(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """`|W_ij| * ||X_j||_2` (Sun et al., arXiv 2306.11695, equation 1)."""
    return weight.abs().mul_(norms)


def ria(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """`(|W_ij| / sum_k |W_kj| + |W_ij| / sum_k |W_ik|) * ||X_j||_2^0.5`: a weight's share of its column and of its row
    (Zhang et al., "Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models", ICLR 2024).
    A column or row of zeros scores zero."""
    size = weight.abs()
    columns = size.sum(dim=0).clamp_min_(TINY)  # (in,)
    rows = size.sum(dim=1, keepdim=True).clamp_min_(TINY)  # (out, 1)
    return (size / columns).add_(size.div_(rows)).mul_(norms.sqrt())


def random(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise: what any method must beat."""
    import torch

    return torch.rand(weight.shape, generator=generator).to(weight.device)


@dataclass(frozen=True)
class Score:
    """A score function, and how it is used unless the recipe says otherwise."""

    function: Callable[..., Tensor]
    """Of weight, norms and generator, and the Gram matrix where it asks for it."""
    needs_norms: bool
    """It looks at the input norms; else no calibration forward is needed."""
    group: str = "output"
    """The comparison group of its source: `output`, `layer` or `input`."""
    random: bool = False
    """It depends on the recipe's seed."""
    needs_gram: bool = False
    """It also takes `X^T X`, float32 (in_features, in_features)."""


SCORES: dict[str, Score] = {
    "magnitude": Score(magnitude, needs_norms=False, group="layer"),
    "wanda": Score(wanda, needs_norms=True),
    "ria": Score(ria, needs_norms=True, group="layer"),
    "random": Score(random, needs_norms=False, random=True),
}


def scores_of(
    name: str, layer: str, weight: Tensor, norms: Tensor, seed: int, gram: Tensor | None = None
) -> Tensor:
    """Scores of one layer, float32, (out_features, in_features).

    Args:
        name: of the score, in `SCORES`.
        layer: full name of the layer. Noise is seeded by it, so as not to depend on which layers came before.
        weight: (out_features, in_features), float32.
        norms: L2 norms of the input features, (in_features,), float32.
        gram: `X^T X`, float32 (in_features, in_features), where the score needs it.

    Raises:
        Refused: the score needs a Gram matrix that is not there.
    """
    import torch

    score = SCORES[name]
    generator = torch.Generator().manual_seed(seed ^ zlib.crc32(layer.encode()))
    if not score.needs_gram:
        return score.function(weight, norms, generator)
    if gram is None:
        raise Refused(
            f"{name} needs products of inputs, so it has no preview: press Run to see its own masks"
        )
    return score.function(weight, norms, generator, gram)
