"""Inspections that are kept between requests, and the recorded one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.assets import ASSETS
from components.cache import Store
from components.limits import LIMITS
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

RECORDED = ASSETS / "recorded"


RECORDED_KEY = "recorded"


GONE = "these results have expired: press Look inside again"


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
    """`wanda_core.inspection.layer_summary.LayerSummary` of every layer, in the model's order."""
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


looks_store: Store[Look] = Store(LIMITS.result_bytes, LIMITS.result_seconds)


def keep(look: Look) -> None:
    """Remember a look in the process that serves the page."""
    looks_store.put(
        look.name, look, sum(norms.nbytes for norms in look.norms.values()) + 500 * len(look.layers)
    )


def look_named(name: object) -> Look:
    """
    Raises:
        Refused: it is no longer kept.
    """
    look = recorded() if name == RECORDED_KEY else looks_store.get(name) if isinstance(name, str) else None
    if look is None:
        raise Refused(GONE)
    return look


def recorded() -> Look:
    """The look that fills the view before anybody looked: real norms, and the real weights of one layer."""
    look = looks_store.get(RECORDED_KEY)
    if look is None:
        from safetensors.torch import load_file

        from wanda_core.inspection.layer_summary import LayerSummary

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
