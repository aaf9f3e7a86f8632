"""The lesson's arithmetic on a matrix small enough to follow by hand, through the engine's own functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

ROWS, COLUMNS, TOKENS = 3, 8, 3


MATRIX = (
    (0.9, -0.2, 0.8, 0.6, -0.7, 0.3, 0.5, -0.1),
    (-0.3, 0.8, -0.1, 0.6, 0.2, -0.5, 0.05, 0.7),
    (0.15, -0.1, 0.2, 0.05, 0.1, -0.15, 0.2, 0.1),
)


INPUTS = (
    (0.2, 4.0, 0.5, 1.0, 0.1, 3.0, 0.6, 1.2),
    (0.1, -3.0, 0.8, 0.5, 0.3, 2.0, -0.4, 1.0),
    (-0.3, 5.0, 0.2, -1.0, 0.2, -4.0, 0.5, -0.8),
)


LARGEST = 1e6


@dataclass(frozen=True)
class Pruned:
    """What one recipe does to the small matrix."""

    scores: Any
    """float32 tensor, (ROWS, COLUMNS)."""
    mask: Any
    """bool tensor, True where kept."""
    error: float
    """Relative output error on the tokens."""


def numbers(what: str, table: object, rows: int, columns: int) -> Any:
    """A table as a visitor left it, as a float32 tensor (rows, columns).

    Raises:
        Refused: it has another size, or a cell is no number between `-LARGEST` and `LARGEST`.
    """
    import torch

    if (
        not isinstance(table, list)
        or len(table) != rows
        or any(not isinstance(row, list) or len(row) != columns for row in table)
    ):
        raise Refused(f"{what} must have {rows} rows of {columns} numbers")
    values = [[_number(what, i, j, cell) for j, cell in enumerate(row)] for i, row in enumerate(table)]
    return torch.tensor(values)


def _number(what: str, row: int, column: int, cell: object) -> float:
    try:
        value = (
            float(cell) if isinstance(cell, int | float | str) and not isinstance(cell, bool) else math.nan
        )
    except (ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= LARGEST:
        raise Refused(
            f"{what}, row {row}, column {column}: type a number between -{LARGEST:,.0f} and {LARGEST:,.0f}"
        )
    return value


def prune_small(weight: Any, inputs: Any, recipe: Recipe) -> Pruned:
    """
    Args:
        weight: (out, in). inputs: (tokens, in).
    """
    from wanda_core.method.masks import choose
    from wanda_core.method.output_error import relative_output_error
    from wanda_core.method.scores import scores_of

    norms = inputs.double().square().sum(dim=0).sqrt().float()
    scores = scores_of(recipe.method, "lesson", weight, norms, recipe.seed)
    mask = choose(scores, recipe.parsed_pattern, recipe.sparsity, recipe.group)
    return Pruned(scores, mask, relative_output_error(weight, weight * mask, inputs))
