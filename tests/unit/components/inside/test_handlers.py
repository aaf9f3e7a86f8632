"""Wrong settings of the layer card."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr
import pytest

from components.inside.handlers import redraw
from components.inside.kept_inspections import RECORDED_KEY, recorded

HOSTILE = [
    (0, "../../etc/passwd"),
    (0, {"a": 1}),
    (1, "no.such.layer"),
    (1, ["x"]),
    (2, "no method"),
    (2, []),
    (3, 7),
    (4, math.nan),
    (4, 10**400),
    (4, -1),
    (4, "50"),
    (5, "9:4"),
    (5, 5),
    (6, "everything"),
    (6, []),
    (7, math.inf),
    (7, True),
    (8, 10**400),
    (8, None),
]


@pytest.mark.parametrize(("place", "value"), HOSTILE)
def test_a_wrong_setting_of_the_card_is_refused_in_a_sentence(place: int, value: Any) -> None:
    layer = next(iter(recorded().norms))
    settings = [RECORDED_KEY, layer, "magnitude", "wanda", 50, "unstructured", "own", 20, 40, False]
    assert "failed" not in redraw(*settings)[0]
    settings[place] = value
    said, *rest = redraw(*settings)
    assert "failed" in said
    assert all(value == gr.skip() for value in rest)
