"""How an export came about, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from wanda_core.export.model_card import shown_source
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.result import Pruning


def description_of(model: LanguageModel, pruning: Pruning, calibration: dict[str, Any]) -> dict[str, Any]:
    """Source, recipe, calibration, and a report on every layer.

    Args:
        calibration: how the windows were drawn.
    """
    return {
        "source": shown_source(model),
        "revision": model.revision,
        "recipe": pruning.recipe.as_dict(),
        "calibration": calibration,
        "conditions": pruning.conditions,
        "sparsity_reached": pruning.sparsity,
        "seconds": pruning.seconds,
        "layers": [asdict(report) for report in pruning.reports],
        "recovered": [asdict(report) for report in pruning.recovered],
        "recovered_model": asdict(pruning.recovered_model) if pruning.recovered_model else None,
        "never_called": pruning.uncalled,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
