"""What two methods do to each layer of a model, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from wanda_core.inspection.agreement import Agreement
from wanda_core.inspection.layer import check_finite, mask_by_scores, outlier_inputs
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.method.methods import METHODS
from wanda_core.method.output_error import relative_output_error
from wanda_core.method.recipe import Recipe
from wanda_core.method.scores import scores_of
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
    """The layer under both methods, computed on its own device.

    Args:
        statistics: of the layer's input in the dense model.
        recipes: of the first and of the second method.
        kept: for each recipe its pruning where there is one; else the mask is chosen from the dense statistics.

    Raises:
        Refused: a recipe does not fit the layer.
    """
    weight, norms = layer.weight.float(), statistics.norms().to(layer.weight.device)
    check_finite(layer.name, weight, norms)
    masks, errors = [], []
    for recipe, pruning in zip(recipes, kept, strict=True):
        if pruning is not None and layer.name in pruning.masks:
            mask = pruning.own_mask(layer.name, weight.device)
            error = next(report.error for report in pruning.reports if report.name == layer.name)
        else:
            scores = scores_of(
                METHODS[recipe.method].score or "wanda", layer.name, weight, norms, recipe.seed
            )
            mask = mask_by_scores(layer.name, scores, recipe)
            error = relative_output_error(layer.weight, pruned_weight(layer, mask), statistics.sample())
        masks.append(mask)
        errors.append(error)
    agreement = Agreement.of(*masks)
    return LayerSummary(
        name=layer.name,
        block=layer.block,
        kind=layer.kind,
        sparsity=(_pruned_share(masks[0]), _pruned_share(masks[1])),
        error=(errors[0], errors[1]),
        differ=agreement.differ,
        outliers=len(outlier_inputs(norms)) / len(norms),
    )


def _pruned_share(mask: Tensor) -> float:
    return 1 - float(mask.count_nonzero()) / mask.numel()
