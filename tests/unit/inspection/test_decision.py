"""Why one weight is pruned or kept, against the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.inspection import SETTINGS, decided, expected_masks, random_layer
from wanda_core import Recipe
from wanda_core.inspection.decision import COMPETITORS, decide, telling_weight
from wanda_core.inspection.thresholds import Side


def group_of(settings: dict[str, Any], own: str, row: int, column: int) -> tuple[Any, Any]:
    """The part of a layer that a weight competes in, as an index."""
    if settings.get("pattern") == "2:4":
        return row, slice(column // 4 * 4, column // 4 * 4 + 4)
    return {
        "output": (row, slice(None)),
        "input": (slice(None), column),
        "layer": (slice(None), slice(None)),
    }[settings.get("group") or own]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_decision_is_the_weights_own_arithmetic(settings: dict[str, Any]) -> None:
    layer = random_layer()
    weight, norms = layer.weight.numpy(), layer.norms.numpy()
    scores = {"magnitude": np.abs(weight), "wanda": np.abs(weight) * norms}
    sides = decided(layer, settings)
    for side, mask in zip(sides, expected_masks(layer, sides), strict=True):
        own = "layer" if side.recipe.method == "magnitude" else "output"
        expected = scores[side.recipe.method]
        for row, column in ((0, 0), (17, 3), (39, 63), (8, 22)):
            found = decide(side, row, column)
            group = group_of(settings, own, row, column)
            pruned = expected[group][~mask[group]]
            assert found.kept == mask[row, column]
            assert found.score == pytest.approx(expected[row, column], rel=1e-6)
            assert found.threshold == (pytest.approx(pruned.max(), rel=1e-6) if pruned.size else None)
            assert len(found.scores) <= COMPETITORS
            place = dict(zip(expected.ravel().tolist(), mask.ravel().tolist(), strict=True))
            for score, kept in zip(found.scores.tolist(), found.kept_scores.tolist(), strict=True):
                nearest = min(place, key=lambda known: abs(known - score))
                assert nearest == pytest.approx(score, rel=1e-6)
                assert place[nearest] == kept


def test_a_group_of_four_is_shown_whole() -> None:
    layer = random_layer()
    side = decided(layer, {"pattern": "2:4"})[1]
    found = decide(side, 5, 22)
    expected = np.abs(layer.weight.numpy() * layer.norms.numpy())[5, 20:24]
    assert np.allclose(found.scores, expected)
    assert found.kept_scores.sum() == 2
    assert found.group == "group of 4"


def test_a_method_that_chooses_while_updating_has_no_arithmetic() -> None:
    layer = random_layer()
    wanda = decided(layer, {"sparsity": 0.5})[1]
    found = decide(Side(Recipe(method="sparsegpt"), wanda.scored, wanda.mask), 2, 3)
    assert (found.score, found.threshold, found.formula) == (None, None, None)
    assert found.kept == bool(wanda.mask[2, 3])


def test_the_weight_shown_at_first_is_on_a_loud_input_where_the_methods_differ() -> None:
    layer = random_layer()
    sides = decided(layer, {"sparsity": 0.5})
    row, column = telling_weight(layer, sides)
    first, second = expected_masks(layer, sides)
    assert column == 3  # thirty times as loud as the rest
    assert first[row, column] != second[row, column]
