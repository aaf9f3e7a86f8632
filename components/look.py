"""A look inside a model: one forward of the dense model, after which any layer can be opened at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from components.engine import Job, Progress, Put
from components.job import Setup
from components.settings import ASSETS, LIMITS
from components.store import Store
from components.subject import kept_pruning, prepare, shared_model
from wanda_core.errors import Refused, Stopped
from wanda_core.recipe import Recipe

RECORDED = ASSETS / "recorded"
RECORDED_KEY = "recorded"
GONE = "what was gathered has been dropped to make room: press Look inside again"


@dataclass(frozen=True, eq=False)
class Look:
    """What is known of every layer of one model, calibrated on one text."""

    source: str
    fingerprint: str
    protocol: dict[str, Any]
    recipes: tuple[Recipe, Recipe]
    """Of the two methods that the map compares."""
    own: tuple[bool, bool]
    """For each of them, whether the map shows a run's own masks."""
    layers: tuple[Any, ...]
    """`wanda_core.overview.LayerSummary` of every layer, in the model's order."""
    norms: dict[str, Any]
    """By layer, L2 norms of its input features (in_features,) in the dense model."""
    setup: str | None = None
    """`Setup.digest` of what was asked for; None for the recorded one."""

    def key(self, recipe: Recipe | str | None) -> tuple[Any, ...]:
        """Names a pruning of this model, as `Subject.key` does."""
        return (self.fingerprint, self.protocol["calibration_sha256"], recipe)

    @property
    def name(self) -> str:
        """Under which it is kept."""
        if self.fingerprint == RECORDED_KEY:
            return RECORDED_KEY
        return repr((self.fingerprint, self.protocol["calibration_sha256"], self.recipes, self.own))


_looks: Store[Look] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
_scored: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""Scores of the layers that were opened last: the same for every place of the slider."""

_sides: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""What the methods make of them: the same for every weight that is looked at."""

_layers: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""The layers themselves, found to hold only numbers."""


@dataclass(frozen=True)
class LookInside(Job):
    """Gather the norms of every layer's inputs in the dense model, and compare two methods layer by layer."""

    setup: Setup
    recipes: tuple[Recipe, Recipe]

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.overview import summarise
        from wanda_core.prune import gather

        subject = prepare(self.setup, put)
        kept = [kept_pruning(subject, recipe) for recipe in self.recipes]
        look = Look(
            source=self.setup.source,
            fingerprint=subject.model.fingerprint,
            protocol=subject.protocol,
            recipes=self.recipes,
            own=tuple(pruning is not None for pruning in kept),
            layers=(),
            setup=self.setup.digest,
            norms={},
        )
        known = _looks.get(look.name)
        if known is not None:
            put(replace(known, setup=self.setup.digest))
            return
        layers, norms, total = {}, {}, len(subject.model.anatomy.layers)

        gathered = gather(
            subject.model.anatomy,
            subject.tokens,
            on_progress=lambda share, where: put(Progress(f"Reading inputs: {where}", 0.7 * share)),
            stop=stop,
        )
        for layer, statistics in gathered.statistics.items():
            if stop.is_set():
                raise Stopped
            norms[layer.name] = statistics.norms().cpu()
            layers[layer.name] = summarise(layer, statistics, self.recipes, kept)
            put(Progress(f"Comparing masks: {layer.name}", 0.7 + 0.3 * len(layers) / total))
        order = [layers[layer.name] for layer in subject.model.anatomy.layers if layer.name in layers]
        put(replace(look, layers=tuple(order), norms=norms))


def pair(recipes: Sequence[Recipe]) -> tuple[Recipe, Recipe]:
    """The two methods to compare: the first two asked for; beside a single one magnitude, or Wanda."""
    first = recipes[0]
    other = "wanda" if first.method == "magnitude" else "magnitude"
    second = recipes[1] if len(recipes) > 1 else replace(first, method=other, group=None)
    return first, second


def keep(look: Look) -> None:
    """Remember a look in the process that serves the page."""
    _looks.put(look.name, look, sum(norms.nbytes for norms in look.norms.values()) + 500 * len(look.layers))


def look_named(name: object) -> Look:
    """
    Raises:
        Refused: it is no longer kept.
    """
    look = recorded() if name == RECORDED_KEY else _looks.get(name) if isinstance(name, str) else None
    if look is None:
        raise Refused(GONE)
    return look


def recorded() -> Look:
    """The look that fills the view before anybody looked: real norms, and the real weights of one layer."""
    look = _looks.get(RECORDED_KEY)
    if look is None:
        from safetensors.torch import load_file

        from wanda_core.overview import LayerSummary

        content = json.loads((RECORDED / "look.json").read_text(encoding="utf-8"))
        tensors = load_file(RECORDED / "look.safetensors")
        look = Look(
            source=content["protocol"]["source"],
            fingerprint=RECORDED_KEY,
            protocol=content["protocol"],
            recipes=tuple(Recipe(**recipe) for recipe in content["recipes"]),
            own=(False, False),
            layers=tuple(LayerSummary(**layer) for layer in content["layers"]),
            norms={content["opened"]: tensors["norms"]},
        )
        keep(look)
    return look


def save_recorded(look: Look, layer: Any) -> None:
    """Write what `recorded` reads: the map, and weight and norms of one layer."""
    from safetensors.torch import save_file

    content = {
        "protocol": look.protocol,
        "recipes": [recipe.as_dict() for recipe in look.recipes],
        "opened": layer.name,
        "layers": [_rounded(asdict(summary)) for summary in look.layers],
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    (RECORDED / "look.json").write_text(text + "\n", encoding="utf-8")
    tensors = {"weight": layer.weight.contiguous(), "norms": look.norms[layer.name]}
    save_file(tensors, RECORDED / "look.safetensors")


def _rounded(summary: dict[str, Any]) -> dict[str, Any]:
    def short(value: Any) -> Any:
        return round(value, 5) if isinstance(value, float) else value

    return {
        k: [short(v) for v in value] if isinstance(value, tuple) else short(value)
        for k, value in summary.items()
    }


@dataclass(frozen=True, eq=False)
class Opened:
    """One layer under two recipes."""

    layer: Any
    """`wanda_core.inspection.OpenLayer`."""
    sides: tuple[Any, Any]
    """`wanda_core.inspection.Side` of both methods."""
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
    from wanda_core.inspection import Side, choose_mask

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
    from wanda_core.methods import METHODS

    return 1 if METHODS[recipes[1].method].needs_inputs else 0


def _weight(look: Look, name: str) -> Any:
    if look.fingerprint == RECORDED_KEY:
        from safetensors.torch import load_file

        return load_file(RECORDED / "look.safetensors")["weight"]
    layers = shared_model(look.source).anatomy.layers
    return next(layer.weight for layer in layers if layer.name == name)


def _opened(look: Look, name: str, recipe: Recipe, pruning: Any | None) -> Any:
    """The layer with the norms that the run's masks come from, or with the dense model's."""
    from wanda_core.inspection import OpenLayer

    key = (look.key(None if pruning is None else recipe), name)
    layer = _layers.get(key)
    if layer is None:
        norms = look.norms[name] if pruning is None else pruning.norms[name]
        layer = OpenLayer.of(name, _weight(look, name), norms)
        # The weight itself is the model's own where that is float32 on the CPU.
        _layers.put(key, layer, layer.weight.nbytes)
    return layer


def _score(look: Look, layer: Any, recipe: Recipe, own: bool) -> Any:
    from wanda_core.inspection import score_layer

    key = (look.key(recipe if own else recipe.method), recipe.seed, layer.name)
    scored = _scored.get(key)
    if scored is None:
        scored = score_layer(layer, recipe.method, recipe.seed)
        _scored.put(key, scored, scored.nbytes)
    return scored
