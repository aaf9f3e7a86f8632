"""Why one weight is pruned or kept: its score, the threshold of its comparison group, and whom it competes with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from wanda_core.inspection.layer import OpenLayer, outlier_inputs
from wanda_core.inspection.thresholds import Side
from wanda_core.method.methods import METHODS

COMPETITORS = 120
"""Of a comparison group that many weights are given at most, taken at even distances."""
FORMULAS = {"magnitude": "|W|", "wanda": "|W| × ‖X‖"}
"""Of the scores that are made of the weight and its input's norm alone."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What one method makes of one weight."""

    kept: bool
    score: float | None
    """None: the method has no score of its own."""
    threshold: float | None
    """The highest score in the weight's comparison group that is pruned; None where nothing is, or without a score."""
    formula: str | None
    """How the score comes of W and ‖X‖, in signs; None for one that needs more than these."""
    group: str
    """The comparison group: `row`, `layer`, `column` or `group of M`."""
    scores: np.ndarray
    """Of some of the group's weights, float32, (n,) with n at most `COMPETITORS`, of a `group of M` all."""
    kept_scores: np.ndarray
    """Whether each of these is kept, bool, (n,)."""


def decide(side: Side, row: int, column: int) -> Decision:
    """What the method of `side` makes of the weight at an output row and an input column."""
    recipe, mask, scores = side.recipe, side.mask, side.scored.scores
    kept = bool(mask[row, column])
    score = METHODS[recipe.method].score
    if score is None:
        none = np.zeros(0, np.float32)
        return Decision(kept, None, None, None, "layer", none, none.astype(bool))
    among = recipe.parsed_pattern.among
    part: tuple[int | slice, int | slice]
    if among:
        name, part = f"group of {among}", (row, slice(column // among * among, (column // among + 1) * among))
    else:
        groups: dict[str, tuple[str, tuple[int | slice, int | slice]]] = {
            "output": ("row", (row, slice(None))),
            "input": ("column", (slice(None), column)),
            "layer": ("layer", (slice(None), slice(None))),
        }
        name, part = groups[recipe.group or "output"]
    group, group_mask = scores[part].reshape(-1), mask[part].reshape(-1)
    # A prime step: rows of a layer are a multiple of 64 long, and the same columns would come again and again.
    step = 1 if among or len(group) <= COMPETITORS else _next_prime(-(-len(group) // COMPETITORS))
    threshold = float(side.thresholds_at(np.array([row]), np.array([column]))[0])
    return Decision(
        kept=kept,
        score=float(scores[row, column]),
        threshold=threshold if np.isfinite(threshold) else None,
        formula=FORMULAS.get(score),
        group=name,
        scores=group[::step].numpy(),
        kept_scores=group_mask[::step].numpy(),
    )


def telling_weight(layer: OpenLayer, sides: tuple[Side, Side]) -> tuple[int, int]:
    """Row and column of a weight that says much: on the loudest input where the two methods differ on one."""
    differ = sides[0].mask ^ sides[1].mask
    loudest = outlier_inputs(layer.norms)[:8].tolist() or [int(torch.argmax(layer.norms))]
    for column in loudest:
        rows = differ[:, column].nonzero().flatten()
        if len(rows):
            return int(rows[0]), column
    return 0, loudest[0]


def _next_prime(least: int) -> int:
    number = max(2, least)
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number += 1
    return number
