"""One layer opened under two recipes, with what was computed for it kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.cache import Shelf
from components.display.names import name, point
from components.inside.inspection import Inspection, OwnMasks
from components.inside.job import previewable
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

if TYPE_CHECKING:
    from wanda_core.inspection.layer import OpenLayer, Scored
    from wanda_core.inspection.thresholds import Side

_scored: Shelf[Scored] = Shelf("scores")
"""Of the layers that were opened last: the same for every place of the slider."""
_sides: Shelf[Side] = Shelf("sides")
"""What the methods make of them: the same for every weight that is looked at."""
_layers: Shelf[OpenLayer] = Shelf("layers")
"""The layers themselves, found to hold only numbers."""


@dataclass(frozen=True, eq=False)
class Opened:
    """One layer under two recipes."""

    layer: OpenLayer
    sides: tuple[Side, Side]
    own: tuple[bool, bool]
    """Whether each mask is one that a run made, or chosen now from the dense model's statistics."""


def open_layer(inspection: Inspection, name: str, recipes: tuple[Recipe, Recipe]) -> Opened:
    """Decide one layer by both recipes, or take the masks of the run that did.

    Raises:
        Refused: no such layer, its weights are not at hand, or a recipe does not fit it or cannot be previewed.
    """
    if not any(summary.name == name for summary in inspection.layers):
        raise Refused("choose a layer from the list")
    own = [inspection.own_masks(recipe, name) for recipe in recipes]
    for recipe, masks in zip(recipes, own, strict=True):
        if masks is None and not previewable(recipe):
            raise Refused(_cannot_be_previewed(recipe))
    weight = in_order(inspection.weight(name), name, own)
    layers = [_opened(inspection, name, weight, *each) for each in zip(recipes, own, strict=True)]
    # The norms shown are those of the method that looks at them: of the point in focus where both do.
    shown = layers[0 if METHODS[recipes[0].method].needs_inputs else 1]
    # A thread each: this is bound by memory, not by Python.
    with ThreadPoolExecutor(3) as pool:
        pool.submit(lambda: shown.plane)
        first, second = pool.map(lambda *each: _side(inspection, *each), layers, recipes, own)
    return Opened(shown, (first, second), (own[0] is not None, own[1] is not None))


def in_order(weight: Any, name: str, own: Sequence[OwnMasks | None]) -> Any:
    """A dense weight (out_features, in_features) with its channels where the masks of both runs have them.

    Raises:
        Refused: they have them in different places.
    """
    orders = [masks.order for masks in own if masks is not None and masks.order is not None]
    if not orders:
        return weight
    if len(orders) < len(own) or not orders[0].same_as(orders[-1]):
        raise Refused(
            "the channels of these two are in different orders, so that no weight lies in the same place: press "
            "Inspect layers"
        )
    return orders[0].put(name, weight)


def _opened(
    inspection: Inspection, name: str, weight: Any, recipe: Recipe, own: OwnMasks | None
) -> OpenLayer:
    """The layer with the norms that the run's masks come from, or with the dense model's."""
    import torch

    from wanda_core.inspection.layer import OpenLayer

    key = (inspection.key(None if own is None else recipe), name)
    layer = _layers.get(key)
    if layer is None:
        norms = (inspection if own is None else own).norms[name]
        layer = OpenLayer.of(name, weight, torch.from_numpy(norms))
        # The weight itself is the model's own where that is float32 on the CPU.
        _layers.put(key, layer, layer.weight.nbytes)
    return layer


def _side(inspection: Inspection, layer: OpenLayer, recipe: Recipe, own: OwnMasks | None) -> Side:
    from wanda_core.inspection.layer import choose_mask
    from wanda_core.inspection.thresholds import Side

    key = (inspection.key(recipe), own is not None, layer.name)
    side = _sides.get(key)
    if side is None:
        scored = _score(inspection, layer, recipe, own is not None)
        mask = own.masks[layer.name].unpack() if own is not None else choose_mask(layer, scored, recipe)
        side = Side(recipe, scored, mask)
        side.spread(layer)  # keeps the thresholds of columns or of the layer
        _sides.put(key, side, scored.nbytes + mask.nbytes)
    return side


def _score(inspection: Inspection, layer: OpenLayer, recipe: Recipe, own: bool) -> Scored:
    from wanda_core.inspection.layer import score_layer

    key = (inspection.key(recipe if own else recipe.method), recipe.seed, layer.name)
    scored = _scored.get(key)
    if scored is None:
        scored = score_layer(layer, recipe.method, recipe.seed)
        _scored.put(key, scored, scored.nbytes)
    return scored


def _cannot_be_previewed(recipe: Recipe) -> str:
    why = "chooses weights while updating them" if recipe.order == "none" else "finds its order while pruning"
    return (
        f"{name(recipe.method)} {why}, so it cannot be previewed. "
        f"Inspect layers prunes by {point(recipe.as_dict())} and shows its own masks"
    )
