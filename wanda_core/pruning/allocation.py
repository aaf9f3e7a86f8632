"""How sparsity is distributed over layers: evenly, by outliers (OWL), by depth, by a scan, or as the recipe says."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.lazy import target
from wanda_core.method.allocations import Named, beta_range, linear_ratios, most_beta, parse_allocation
from wanda_core.method.recipe import Recipe
from wanda_core.models.prunable_layers import Layer, PrunableModel
from wanda_core.pruning.result import BlockScan

OUTLIER = 5.0
"""OWL's M: a weight is an outlier where its Wanda score is above M times the mean of its block."""


SPREAD = 0.08
"""OWL's lambda: densities of the blocks span twice this much."""


STEEPNESS = 8.0
"""How fast the log of a rise in loss grows with sparsity: from 50 to 60% and from 60 to 70% Wanda's, of SmolLM2-135M,
grows by 0.8 and 0.7."""


REACH = 0.15
"""So far a block's sparsity may lie from the mean."""


SMALLEST_RISE = 1e-3
"""Of the largest; a block whose pruning changes less, or lowers the loss, counts as this."""


def sparsities_of(
    prunable: PrunableModel, recipe: Recipe, seen: Mapping[Layer, Tensor] | BlockScan | None = None
) -> dict[Layer, float]:
    """Sparsity of every layer under a recipe.

    Args:
        seen: what the allocation needs: for each layer the L2 norms of its input features (in_features,), of the dense
            model; or a scan of the blocks.

    Raises:
        Refused: the allocation names a block or layer that is not there, or its number does not fit the model.
    """
    assert recipe.sparsity is not None  # a recipe fills it in
    chosen = parse_allocation(recipe.allocation)
    if isinstance(chosen, Named):
        return target(chosen.allocation.function)(prunable, recipe.sparsity, seen, chosen.number)
    return explicit(prunable, chosen, recipe.sparsity)


def uniform(prunable: PrunableModel, sparsity: float, *_: object) -> dict[Layer, float]:
    """The same sparsity everywhere."""
    return dict.fromkeys(prunable.layers, sparsity)


def linear(prunable: PrunableModel, sparsity: float, _: object, beta: float) -> dict[Layer, float]:
    """Later blocks are pruned more, see `linear_ratios`.

    Raises:
        Refused: `beta` would take a block's sparsity below 0 or above 1.
    """
    blocks = len(prunable.blocks)
    if beta > most_beta(sparsity, blocks) * (1 + 1e-9):
        raise Refused(f"{{allocation}} linear:{beta:g}: BETA must lie {beta_range(sparsity, blocks)}")
    ratios = linear_ratios(sparsity, beta, blocks)
    return {layer: ratios[layer.block] for layer in prunable.layers}


def explicit(prunable: PrunableModel, ratios: Mapping[str, float], sparsity: float) -> dict[Layer, float]:
    """Sparsity of every layer: its own ratio, else its block's, else `sparsity`.

    Raises:
        Refused: a name that is neither a block nor a prunable layer of this model.
    """
    known = {str(layer.block) for layer in prunable.layers} | {layer.name for layer in prunable.layers}
    for name in ratios:
        if name not in known:
            raise Refused(
                f"{{allocation}}: no block or prunable layer `{name[:80]}`; blocks are "
                f"0 to {len(prunable.blocks) - 1}, layers are named like {prunable.layers[0].name}"
            )
    return {
        layer: ratios.get(layer.name, ratios.get(str(layer.block), sparsity)) for layer in prunable.layers
    }


def shortfall(prunable: PrunableModel, recipe: Recipe) -> str:
    """What an explicit allocation does beside what was asked for, in one sentence: blocks without a ratio of their own,
    and a mean that misses the target. Empty where there is nothing to say."""
    ratios = parse_allocation(recipe.allocation)
    if isinstance(ratios, Named):
        return ""
    assert recipe.sparsity is not None  # a recipe fills it in
    chosen = explicit(prunable, ratios, recipe.sparsity)
    named = {layer.block for layer in prunable.layers if {layer.name, str(layer.block)} & set(ratios)}
    holes = [str(block) for block in range(len(prunable.blocks)) if block not in named]
    sizes = {layer: layer.stored.numel() for layer in prunable.layers}
    mean = sum(chosen[layer] * size for layer, size in sizes.items()) / sum(sizes.values())
    said = []
    if holes:
        blocks = f"block {holes[0]} has" if len(holes) == 1 else f"blocks {', '.join(holes)} have"
        said.append(f"{blocks} no ratio and {'gets' if len(holes) == 1 else 'get'} {recipe.sparsity:.1%}")
    if abs(mean - recipe.sparsity) >= 0.001:
        said.append(f"the mean over all weights is {mean:.1%}, not {recipe.sparsity:.1%}")
    return "; ".join(said)


def owl(
    prunable: PrunableModel, sparsity: float, norms: Mapping[Layer, Tensor], *_: object
) -> dict[Layer, float]:
    """Outlier-weighed sparsities (Yin et al., arXiv 2310.05175): a block with more outliers keeps more.

    Args:
        sparsity: mean over the blocks.
        norms: for each layer the L2 norms of its input features (in_features,), of the dense model; a layer without
            them gives no outliers.
    """
    blocks = [[layer for layer in prunable.layers if layer.block == i] for i in range(len(prunable.blocks))]
    shares = [outlier_share([layer for layer in block if layer in norms], norms) for block in blocks]
    densities = owl_densities(torch.tensor(shares, dtype=torch.float64), 1 - sparsity)
    return {layer: 1 - densities[layer.block].item() for layer in prunable.layers}


def sensitivity(prunable: PrunableModel, sparsity: float, scan: BlockScan, *_: object) -> dict[Layer, float]:
    """The less the loss rises when a block is pruned alone, the more of it is pruned; see `sensitivity_ratios`."""
    weights = [0] * len(prunable.blocks)
    for layer in prunable.layers:
        weights[layer.block] += layer.stored.numel()
    ratios = sensitivity_ratios(scan, weights, sparsity)
    return {layer: ratios[layer.block] for layer in prunable.layers}


def sensitivity_ratios(scan: BlockScan, weights: Sequence[int], sparsity: float) -> list[float]:
    """Sparsity of every block, the mean over the weights exactly `sparsity`.

    Were a block's rise in loss `a_i exp(STEEPNESS s)` at sparsity s, and the rises independent, their sum would be
    least where one more weight costs the same everywhere: `s_i = c - log(a_i / weights_i) / STEEPNESS`. Bounded to
    `REACH` about the mean, as both suppositions hold near it at best; c is found by bisection.

    Args:
        weights: prunable weights of every block.
    """
    rises = [loss - scan.dense for loss in scan.pruned]
    least = SMALLEST_RISE * max(rises)
    if least <= 0:  # no block matters
        return [sparsity] * len(rises)
    wanted = [
        -math.log(max(rise, least) / size) / STEEPNESS for rise, size in zip(rises, weights, strict=True)
    ]
    reach = min(REACH, sparsity, 1 - sparsity)

    def ratios(shift: float) -> list[float]:
        return [sparsity + min(reach, max(-reach, shift + each)) for each in wanted]

    low, high = -max(wanted) - reach, reach - min(wanted)  # all at the lower bound, all at the upper one
    for _ in range(100):
        middle = (low + high) / 2
        mean = sum(map(operator.mul, ratios(middle), weights)) / sum(weights)
        low, high = (middle, high) if mean < sparsity else (low, middle)
    return ratios(high)


def outlier_share(layers: list[Layer], norms: Mapping[Layer, Tensor]) -> float:
    """Share of a block's weights whose Wanda score is above `OUTLIER` times the block's mean score."""
    weights = sum(layer.stored.numel() for layer in layers)
    if not weights:
        return 0.0
    total = sum((layer.weight.float().abs() @ norms[layer]).double().sum().item() for layer in layers)
    threshold = OUTLIER * total / weights
    above = sum(
        int((layer.weight.float().abs() * norms[layer] > threshold).count_nonzero()) for layer in layers
    )
    return above / weights


def owl_densities(shares: Tensor, density: float) -> Tensor:
    """Densities of the blocks, float64 (blocks,): the shares stretched to a span of `2 * SPREAD` about the mean
    `density`, within 0 and 1. Where all shares are the same, so are the densities."""
    span = shares.max() - shares.min()
    if span == 0:
        return torch.full_like(shares, density)
    stretched = shares * (2 * SPREAD / span)
    return (stretched - stretched.mean() + density).clamp_(0, 1)
