"""What stands beside the point in focus."""

from __future__ import annotations

import pytest

from components.workspace.beside import beside_another
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core import Recipe


@pytest.mark.parametrize(
    ("method", "beside", "then"),
    [
        ("magnitude", ["magnitude"], ["wanda"]),
        ("wanda", ["wanda"], ["magnitude"]),
        ("ria", ["ria"], ["magnitude"]),
        ("magnitude", ["magnitude", "ria"], None),
        ("wanda", ["magnitude"], None),
        ("wanda", [], None),
        ("wanda", "wanda", None),
    ],
)
def test_a_method_is_not_put_beside_itself(method: str, beside: object, then: list[str] | None) -> None:
    focus = Focus(Setup("pocket", "stories", "stories"), Recipe(method=method, sparsity=0.5))
    assert beside_another(focus, beside) == then
    assert beside_another(None, beside) is None
