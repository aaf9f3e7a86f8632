"""One layer opened under two methods, with what was computed for it kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from components.cache import Store
from components.inside.kept_inspections import RECORDED, RECORDED_KEY, Look
from components.limits import LIMITS
from components.workspace.models import shared_model
from components.workspace.prunings import kept_pruning
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

_scored: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""Scores of the layers that were opened last: the same for every place of the slider."""

_sides: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""What the methods make of them: the same for every weight that is looked at."""

_layers: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""The layers themselves, found to hold only numbers."""


@dataclass(frozen=True, eq=False)
class Opened:
    """One layer under two recipes."""

    layer: Any
    """`wanda_core.inspection.layer.OpenLayer`."""
    sides: tuple[Any, Any]
    """`wanda_core.inspection.thresholds.Side` of both methods."""
    own: tuple[bool, bool]
    """Whether each mask is a run's own, or chosen now from the dense statistics."""


def open_layer(look: Look, name: object, recipes: tuple[Recipe, Recipe]) -> Opened:
    """Decide one layer by both recipes, or take the masks of the run that did.

    Raises:
        Refused: no such layer, or a recipe does not fit it.
    """
    if not any(summary.name == name for summary in look.layers):
        raise Refused("choose a layer from the list")
    if name not in look.norms:
        raise Refused(
            f"of the recorded model only {next(iter(look.norms))} can be opened: press Look inside to open any "
            "layer of your own"
        )
    kept = [kept_pruning(look, recipe) for recipe in recipes]
    kept = [pruning if pruning is not None and name in pruning.masks else None for pruning in kept]
    layers = [_opened(look, name, recipe, pruning) for recipe, pruning in zip(recipes, kept, strict=True)]
    shown = layers[_speaks(recipes)]
    # A thread each: this is bound by memory, not by Python.
    with ThreadPoolExecutor(3) as pool:
        pool.submit(lambda: shown.plane)
        sides = tuple(pool.map(lambda *each: _side(look, *each), layers, recipes, kept))
    return Opened(shown, sides, tuple(pruning is not None for pruning in kept))


def _side(look: Look, layer: Any, recipe: Recipe, pruning: Any | None) -> Any:
    from wanda_core.inspection.layer import choose_mask
    from wanda_core.inspection.thresholds import Side

    own = pruning is not None
    key = (look.key(recipe), own, layer.name)
    side = _sides.get(key)
    if side is None:
        scored = _score(look, layer, recipe, own)
        mask = pruning.masks[layer.name].unpack() if own else choose_mask(layer, scored, recipe)
        side = Side(recipe, scored, mask)
        side.spread(layer)  # keeps the thresholds of columns or of the layer
        _sides.put(key, side, scored.nbytes + mask.nbytes)
    return side


def _speaks(recipes: tuple[Recipe, Recipe]) -> int:
    """Whose norms are shown: the method's that looks at them, the second's where both do."""
    from wanda_core.method.methods import METHODS

    return 1 if METHODS[recipes[1].method].needs_inputs else 0


def _weight(look: Look, name: str) -> Any:
    if look.fingerprint == RECORDED_KEY:
        from safetensors.torch import load_file

        return load_file(RECORDED / "look.safetensors")["weight"]
    layers = shared_model(look.source).prunable.layers
    return next(layer.weight for layer in layers if layer.name == name)


def _opened(look: Look, name: str, recipe: Recipe, pruning: Any | None) -> Any:
    """The layer with the norms that the run's masks come from, or with the dense model's."""
    from wanda_core.inspection.layer import OpenLayer

    key = (look.key(None if pruning is None else recipe), name)
    layer = _layers.get(key)
    if layer is None:
        norms = look.norms[name] if pruning is None else pruning.norms[name]
        layer = OpenLayer.of(name, _weight(look, name), norms)
        # The weight itself is the model's own where that is float32 on the CPU.
        _layers.put(key, layer, layer.weight.nbytes)
    return layer


def _score(look: Look, layer: Any, recipe: Recipe, own: bool) -> Any:
    from wanda_core.inspection.layer import score_layer

    key = (look.key(recipe if own else recipe.method), recipe.seed, layer.name)
    scored = _scored.get(key)
    if scored is None:
        scored = score_layer(layer, recipe.method, recipe.seed)
        _scored.put(key, scored, scored.nbytes)
    return scored
