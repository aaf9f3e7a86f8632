"""The number line: the weight on its side of the threshold, and the words beside it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.inside.number_line import arithmetic_html
from tests.support.inspection import SETTINGS, decided, random_layer
from wanda_core.inspection.decision import decide


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("place", [(0, 0), (17, 3), (39, 63)])
def test_the_weight_lies_on_its_side_of_the_threshold(
    settings: dict[str, Any], place: tuple[int, int]
) -> None:
    layer = random_layer()
    sides = decided(layer, settings)
    decisions = (decide(sides[0], *place), decide(sides[1], *place))
    recipes = (sides[0].recipe, sides[1].recipe)
    html = arithmetic_html(
        place, float(layer.weight[place]), float(layer.norms[place[1]]), decisions, recipes
    )
    assert f'data-weight="{place[0]},{place[1]}"' in html
    for decision, section in zip(decisions, re.findall(r"<section>.*?</section>", html), strict=True):
        fate = "kept" if decision.kept else "pruned"
        assert f'<b class="{fate}">{fate}</b>' in section
        (at,) = map(float, re.findall(r'cx="([\d.]+)"', section))
        cut = re.findall(r'class="cut" x1="([\d.]+)"', section)
        assert len(cut) == (decision.threshold is not None)
        if cut:
            assert (at >= float(cut[0])) if decision.kept else (at <= float(cut[0]))
            assert f"{decision.threshold:.4g}" in section
        ticks = {kind: re.findall(rf'tick-{kind}" d="([^"]*)"', section)[0] for kind in ("kept", "pruned")}
        if decision.threshold is None:
            assert not ticks["pruned"]
        for kind, path in ticks.items():
            for x in map(float, re.findall(r"M([\d.]+) 15", path)):
                assert not cut or (x >= float(cut[0]) if kind == "kept" else x <= float(cut[0]))
