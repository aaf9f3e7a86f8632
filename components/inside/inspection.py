"""What one inspection found out about a model, those that are kept between requests, and the recorded one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from components.assets import ASSETS
from components.cache import Shelf
from components.workspace.defaults import SMOLLM2, is_recorded
from components.workspace.models import loaded
from components.workspace.prunings import kept_pruning
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

if TYPE_CHECKING:
    from wanda_core.inspection.layer_summary import LayerSummary
    from wanda_core.method.packed_mask import PackedMask
    from wanda_core.models.channel_order import ChannelOrder

RECORDED = ASSETS / "recorded"
RECORDED_NAME = "recorded"
AGAIN = "the model is no longer loaded: press Inspect layers"
GONE = "what was gathered has been dropped to make room: press Inspect layers"


@dataclass(frozen=True, eq=False)
class OwnMasks:
    """What a run pruned: the masks of its layers, and the norms that they come from."""

    masks: dict[str, PackedMask]
    norms: dict[str, np.ndarray]
    """By layer, float32, (in_features,)."""
    order: ChannelOrder | None = None
    """Of the channels, that masks and norms are in."""

    @property
    def nbytes(self) -> int:
        return sum(mask.bits.nbytes for mask in self.masks.values()) + sum(
            n.nbytes for n in self.norms.values()
        )


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known of every layer of one model, calibrated on one text: plain arrays, so that it can be sent from one
    process to another."""

    source: str
    revision: str | None
    dtype: str
    fingerprint: str
    protocol: dict[str, Any]
    recipes: tuple[Recipe, Recipe]
    """The point in focus and what it is compared with: the two that the map compares."""
    own: dict[Recipe, OwnMasks]
    """Of these the ones that were pruned; the others were chosen from the dense model's statistics."""
    layers: tuple[LayerSummary, ...]
    """In the model's order."""
    norms: dict[str, np.ndarray]
    """By layer, L2 norms of its input features in the dense model, float32, (in_features,)."""
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    """Of some layers, float32, (out_features, in_features): for a process in which the model is not loaded."""
    name: str = ""
    """Under which it is kept."""

    def key(self, recipe: Recipe | str | None) -> tuple[Any, ...]:
        """Names a pruning of this model, as `Subject.key` does."""
        return (self.fingerprint, self.protocol["calibration_sha256"], recipe)

    @property
    def recorded(self) -> bool:
        return self.name == RECORDED_NAME

    @property
    def nbytes(self) -> int:
        arrays = [*self.norms.values(), *self.weights.values()]
        own = sum(masks.nbytes for masks in self.own.values())
        return sum(array.nbytes for array in arrays) + own + 500 * len(self.layers)

    def own_masks(self, recipe: Recipe, layer: str) -> OwnMasks | None:
        """The masks that a run made by that recipe, where it pruned that layer."""
        own = self.own.get(recipe)
        if own is None:
            pruning = kept_pruning(self.key(recipe))
            if pruning is not None:
                own = own_masks(pruning)
        return own if own is not None and layer in own.masks else None

    def openable(self) -> frozenset[str]:
        """Names of the layers whose weights are at hand."""
        if self._model() is not None:
            return frozenset(self.norms)
        return frozenset(self.weights)

    def weight(self, layer: str) -> Any:
        """The dense weight of a layer, a tensor (out_features, in_features). Never waits, never loads.

        Raises:
            Refused: it is not at hand; says what to do.
        """
        import torch

        if layer in self.weights:
            return torch.from_numpy(self.weights[layer])
        model = self._model()
        if model is not None:
            for each in model.prunable.layers:
                if each.name == layer:
                    return each.weight
        if self.recorded:
            raise Refused(f"the weights of {layer} are not recorded: press Inspect layers to open any layer")
        raise Refused(AGAIN)

    def _model(self) -> Any:
        model = loaded(self.source, self.revision, self.dtype)
        return model if model is not None and model.fingerprint == self.fingerprint else None


def own_masks(pruning: Any) -> OwnMasks:
    """Of a `wanda_core.pruning.result.Pruning`."""
    norms = {name: norms.numpy() for name, norms in pruning.norms.items()}
    return OwnMasks(pruning.masks, norms, pruning.order)


_inspections: Shelf[Inspection] = Shelf("inspections")
_names: Shelf[str] = Shelf("inspections by setup")
"""Name of the last inspection, by `Setup.digest`."""


def keep(inspection: Inspection, setup: Setup) -> None:
    """Remember an inspection in the process that serves the page, for whoever opens the view by that setup."""
    _inspections.put(inspection.name, inspection, inspection.nbytes)
    _names.put(setup.digest, inspection.name, 200)


def kept_inspection(setup: Setup) -> Inspection | None:
    """The last inspection by that setup; before any, of SmolLM2, the recorded one."""
    name = _names.get(setup.digest)
    found = _inspections.get(name) if name is not None else None
    if found is not None:
        return found
    known = is_recorded(setup.source) and setup.revision is None and setup.dtype == "auto"
    return recorded(setup.source) if known else None


def inspection_named(name: object, source: str) -> Inspection:
    """
    Raises:
        Refused: it is no longer kept.
    """
    found = (
        recorded(source)
        if name == RECORDED_NAME
        else _inspections.get(name)
        if isinstance(name, str)
        else None
    )
    if found is None:
        raise Refused(GONE)
    return found


def recorded(source: str = SMOLLM2) -> Inspection:
    """The recorded inspection of SmolLM2: real norms of all layers, and the real weights of some. Where the very same
    model is loaded from `source`, its other layers can be opened, too."""
    found = _inspections.get(RECORDED_NAME)
    if found is None:
        found = _read_recorded()
        _inspections.put(RECORDED_NAME, found, found.nbytes)
    model = loaded(source)
    if model is None or not _holds(model, found.weights):
        return found
    return replace(found, source=source, fingerprint=model.fingerprint)


def _read_recorded() -> Inspection:
    from safetensors.numpy import load_file

    from wanda_core.inspection.layer_summary import LayerSummary

    content = json.loads((RECORDED / "look.json").read_text(encoding="utf-8"))
    arrays = load_file(RECORDED / "look.safetensors")
    layers = [
        LayerSummary(**(each | {"sparsity": tuple(each["sparsity"]), "error": tuple(each["error"])}))
        for each in content["layers"]
    ]
    first, second = (Recipe(**recipe) for recipe in content["recipes"])
    return Inspection(
        source=content["protocol"]["source"],
        revision=None,
        dtype="auto",
        fingerprint=RECORDED_NAME,
        protocol=content["protocol"],
        recipes=(first, second),
        own={},
        layers=tuple(layers),
        norms={layer: arrays[f"norms/{shared}"] for layer, shared in content["norms"].items()},
        weights={name.removeprefix("weight/"): w for name, w in arrays.items() if name.startswith("weight/")},
        name=RECORDED_NAME,
    )


def save_recorded(inspection: Inspection, opened: list[str]) -> None:
    """Write what `recorded` reads: the map, the norms of all layers and the weights of those `opened`."""
    from dataclasses import asdict

    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    shared: dict[str, str] = {}
    first: dict[bytes, str] = {}
    for name, norms in inspection.norms.items():  # q, k and v read the same input
        shared[name] = first.setdefault(norms.tobytes(), name)
        arrays[f"norms/{shared[name]}"] = norms
    arrays |= {
        f"weight/{name}": np.ascontiguousarray(inspection.weight(name).float().numpy()) for name in opened
    }
    content = {
        "protocol": inspection.protocol,
        "recipes": [recipe.as_dict() for recipe in inspection.recipes],
        "layers": [_rounded(asdict(summary)) for summary in inspection.layers],
        "norms": shared,
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    (RECORDED / "look.json").write_text(text + "\n", encoding="utf-8")
    save_file(arrays, RECORDED / "look.safetensors")


def _rounded(summary: dict[str, Any]) -> dict[str, Any]:
    def short(value: Any) -> Any:
        return round(value, 5) if isinstance(value, float) else value

    return {
        k: [short(v) for v in value] if isinstance(value, tuple) else short(value)
        for k, value in summary.items()
    }


def _holds(model: Any, weights: dict[str, np.ndarray]) -> bool:
    """Whether the model has these very weights, bit for bit."""
    layers = {layer.name: layer for layer in model.prunable.layers}
    return bool(weights) and all(
        name in layers and np.array_equal(layers[name].weight.float().cpu().numpy(), weight)
        for name, weight in weights.items()
    )
