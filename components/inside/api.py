"""Inside as a function: `inspect`, beside the page and by the same checks."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import gradio as gr

from components.display.names import control
from components.inside.inspection import keep
from components.inside.job import Inspected, InspectLayers
from components.inside.opened_layer import open_layer
from components.inside.settings import Asked
from components.page import api
from components.page.view import Page
from components.recipe.request import named_focus
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe


def serve(page: Page) -> None:
    """Offer `inspect` in the API."""

    async def inspect(
        source: str = page.sources[0],
        method: str = "wanda",
        amount: str = "50",
        compare: str = "",
        layer: str = "",
        weight: str = "",
        calibration: str = "",
        own_text: str = "",
        samples: int = 4,
        length: int = 256,
    ) -> dict[str, Any]:
        """What a pruning does to every layer beside another method, and why one weight is pruned or kept.

        Args:
            source: a model on offer, or a Hub id.
            method: of the pruning, such as wanda or magnitude.
            amount: per cent, such as 50, or a pattern, such as 2:4.
            compare: the method beside it; empty: magnitude, or Wanda beside magnitude.
            layer: a layer by its name, such as model.layers.0.mlp.down_proj, to open; empty: none.
            weight: one of its weights by output row and input column, such as 3,17; empty: a telling one.
            calibration: stories, pydoc, wikitext2, c4 or own; empty: the model's own.
            own_text: the text for own.
            samples: calibration windows.
            length: tokens of a window.

        Returns:
            protocol; recipes, of the two methods; layers, a summary of each with a pair of figures for the two: share
            pruned and output error, and the share of the weights on which they differ; weight, where a layer was
            named: its value, the norm of its input, and each method's score, threshold and decision.
        """
        asked: list[Asked] = []

        def job() -> InspectLayers:
            values = api.panel_values(
                source, calibration=calibration, own_text=own_text, samples=samples, length=length
            )
            focus = named_focus(f"{method}-{amount}", values, page.sources)
            asked.append(Asked.of({"layer": layer, "weight": weight, "compare": compare}, focus.recipe))
            return InspectLayers(focus, asked[0].recipes(focus.recipe)[1], layer)

        found: Inspected = await api.outcome_of(page.worker, job)
        inspection = found.inspection
        keep(inspection, found.focus.setup)
        opened = None
        if layer:
            try:
                opened = await asyncio.to_thread(_weight, found, asked[0])
            except Refused as error:
                raise gr.Error(error.told(control), print_exception=False) from error
        return api.plain(
            {
                "protocol": inspection.protocol,
                "recipes": [recipe.as_dict() for recipe in inspection.recipes],
                "layers": [asdict(summary) for summary in inspection.layers],
                "weight": opened,
            }
        )

    gr.api(inspect, api_name="inspect", concurrency_limit=None)


def _weight(found: Inspected, asked: Asked) -> dict[str, Any]:
    """One weight of a layer, under both methods."""
    from wanda_core.inspection.decision import decide, telling_weight

    recipes: tuple[Recipe, Recipe] = found.inspection.recipes
    opened = open_layer(found.inspection, asked.layer, recipes)
    layer = opened.layer
    rows, columns = layer.weight.shape
    row, column = asked.weight or telling_weight(layer, opened.sides)
    if row >= rows or column >= columns:
        raise Refused(
            f"{asked.layer} has {rows} rows and {columns} inputs, counted from 0: choose another weight"
        )
    decisions = [decide(side, row, column) for side in opened.sides]
    return {
        "layer": asked.layer,
        "row": row,
        "column": column,
        "value": float(layer.weight[row, column]),
        "norm": float(layer.norms[column]),
        "decisions": [
            {
                "method": recipe.method,
                "kept": decision.kept,
                "score": decision.score,
                "threshold": decision.threshold,
                "group": decision.group,
            }
            for recipe, decision in zip(recipes, decisions, strict=True)
        ],
    }
