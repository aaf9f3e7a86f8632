"""What two methods do to each layer of a model, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wanda_core.inspection.agreement import Agreement
from wanda_core.inspection.layer import OpenLayer, choose_mask, outlier_inputs, score_layer
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.method.output_error import relative_output_error
from wanda_core.method.recipe import Recipe
from wanda_core.models.prunable_layers import Layer
from wanda_core.pruning.result import Pruning, pruned_weight


@dataclass(frozen=True)
class LayerSummary:
    """One layer under two methods."""

    name: str
    block: int
    kind: str
    sparsity: tuple[float, float]
    """Share of the weights that each method removes."""
    error: tuple[float, float]
    """Relative output error of each, on a sample of the layer's inputs."""
    differ: float
    """Share of the weights that one method keeps and the other removes."""
    outliers: float
    """Share of the input features whose norm is above `OUTLIER` times the mean."""


def summarise(
    layer: Layer, statistics: InputStatistics, recipes: Sequence[Recipe], kept: Sequence[Pruning | None]
) -> LayerSummary:
    """
    Args:
        statistics: of the layer's input in the dense model.
        recipes: of the first and of the second method.
        kept: for each recipe its pruning where there is one; else the mask is chosen from the dense statistics.

    Raises:
        Refused: a recipe does not fit the layer.
    """
    opened = OpenLayer.of(layer.name, layer.weight, statistics.norms())
    masks, errors = [], []
    for recipe, pruning in zip(recipes, kept, strict=True):
        if pruning is not None and layer.name in pruning.masks:
            mask = pruning.masks[layer.name].unpack()
            error = next(report.error for report in pruning.reports if report.name == layer.name)
        else:
            mask = choose_mask(opened, score_layer(opened, recipe.method, recipe.seed), recipe)
            error = relative_output_error(layer.weight, pruned_weight(layer, mask), statistics.sample())
        masks.append(mask)
        errors.append(error)
    agreement = Agreement.of(*masks)
    return LayerSummary(
        name=layer.name,
        block=layer.block,
        kind=layer.kind,
        sparsity=tuple(1 - float(mask.count_nonzero()) / mask.numel() for mask in masks),
        error=tuple(errors),
        differ=agreement.differ,
        outliers=len(outlier_inputs(opened.norms)) / len(opened.norms),
    )
