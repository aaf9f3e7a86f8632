"""The lesson's arithmetic against the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.learn.arithmetic import COLUMNS, INPUTS, MATRIX, ROWS, numbers, prune_small
from tests.support import oracle
from wanda_core import Recipe
from wanda_core.errors import Refused


def test_the_lesson_is_the_formulas() -> None:
    weight, inputs = torch.tensor(MATRIX), torch.tensor(INPUTS)
    for recipe in (Recipe(method="magnitude", sparsity=0.5), Recipe(sparsity=0.25), Recipe(pattern="2:4")):
        pruned = prune_small(weight, inputs, recipe)
        scores = oracle.score(recipe.method, weight.numpy(), inputs.numpy())
        assert np.allclose(pruned.scores, scores)
        mask = oracle.mask(pruned.scores.numpy(), recipe.sparsity, recipe.pattern, recipe.group)
        assert np.array_equal(pruned.mask, mask)
        x, w = inputs.double().numpy(), weight.double().numpy()
        moved = np.linalg.norm(x @ (w * ~mask).T) / np.linalg.norm(x @ w.T)
        assert pruned.error == pytest.approx(moved, rel=1e-5)


@pytest.mark.parametrize("cell", ["x", None, "nan", float("inf"), 1e300, True, [1], {"a": 1}, ""])
def test_the_lesson_refuses_what_is_no_number(cell: Any) -> None:
    table = [list(row) for row in MATRIX]
    table[1][2] = cell
    with pytest.raises(Refused, match="row 1, column 2: type a number"):
        numbers("Weights", table, ROWS, COLUMNS)
    for wrong in (None, [], table[:2], [row[:3] for row in table], "x"):
        with pytest.raises(Refused, match="must have"):
            numbers("Weights", wrong, ROWS, COLUMNS)
