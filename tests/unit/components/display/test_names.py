"""What a row and a setting are called on the page."""

from __future__ import annotations

from typing import Any

import pytest

from components.display.names import CONTROLS, HINTS, NAMES, amount, control, is_reference, name, point
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS


def row(method: str, pattern: str = "unstructured", sparsity: float = 0.5) -> dict[str, Any]:
    return {"method": method, "pattern": pattern, "sparsity": sparsity}


@pytest.mark.parametrize(
    ("measured", "called"),
    [
        (row("wanda"), "Wanda 50%"),
        (row("wanda", "2:4"), "Wanda 2:4"),
        (row("sparsegpt", sparsity=0.666), "SparseGPT 67%"),
        (row("wanda") | {"recovery": "blocks"}, "Wanda 50% recovered"),
        (row("wanda") | {"recovery": "model"}, "Wanda 50% fine-tuned"),
        (row("wanda") | {"recovery": "none"}, "Wanda 50%"),
        (row("wanda", "2:4") | {"order": "channels"}, "Wanda 2:4 ordered"),
        (row("wanda", "2:4") | {"recovery": "blocks", "bits": 4}, "Wanda 2:4 recovered 4-bit"),
        (row("dense") | {"bits": 8}, "Dense 8-bit"),
        (row("wanda", "2:4") | {"order": "channels", "recovery": "model"}, "Wanda 2:4 ordered fine-tuned"),
        (row("novel", sparsity=0.07), "Novel 7%"),
        (row("dense", sparsity=0), "Dense"),
        (row("int8", sparsity=0), "Dense in int8"),
    ],
)
def test_a_point_is_named_by_its_method_and_amount(measured: dict[str, Any], called: str) -> None:
    assert point(measured) == called


@pytest.mark.parametrize(
    ("method", "reference"), [("dense", True), ("int8", True), ("dense some/model", True), ("densest", False)]
)
def test_what_is_not_pruned_is_a_reference(method: str, reference: bool) -> None:
    assert is_reference(row(method)) == reference


def test_the_amount_is_the_pattern_where_there_is_one() -> None:
    assert (amount(row("wanda", "4:8")), amount(row("wanda", sparsity=0.5))) == ("4:8", "50%")


def test_every_hint_is_of_a_named_method_that_there_is() -> None:
    assert set(HINTS) <= set(NAMES)
    assert set(HINTS) <= set(METHODS)
    assert name("magnitude") == "Magnitude"


def test_a_refusal_is_told_in_the_names_of_the_controls() -> None:
    refused = Refused("lower {samples} or {length}, {no_setting} stays")
    assert refused.told(control) == (
        f"lower {CONTROLS['samples']} or {CONTROLS['length']}, {{no_setting}} stays"
    )
