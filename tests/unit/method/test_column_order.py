"""An order of columns under which an N:M pattern keeps more."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor

from wanda_core.method.column_order import kept_score, order_columns
from wanda_core.method.pattern import Pattern


def uneven(rows: int, columns: int, seed: int = 0) -> Tensor:
    """Scores whose columns differ in size."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randn(columns, generator=generator).exp()
    return torch.rand(rows, columns, generator=generator) * sizes


def kept_by_hand(scores: Tensor, keep: int, among: int) -> float:
    return sum(
        sum(sorted(group, reverse=True)[:keep])
        for row in scores.tolist()
        for group in (row[start : start + among] for start in range(0, len(row), among))
    )


@pytest.mark.parametrize(("keep", "among"), [(2, 4), (1, 4), (3, 4), (4, 8), (1, 2), (5, 6)])
def test_more_is_kept_than_as_they_come(keep: int, among: int) -> None:
    scores = uneven(40, 48)
    order = order_columns(scores, Pattern(keep, among))
    assert sorted(order.tolist()) == list(range(48))
    before, after = (kept_by_hand(each, keep, among) for each in (scores, scores[:, order]))
    assert after > 1.005 * before
    assert kept_score(scores[:, order], Pattern(keep, among)) == pytest.approx(after, rel=1e-6)


def test_eight_columns_come_into_the_best_of_all_their_orders() -> None:
    scores = uneven(12, 8, seed=3)
    found = kept_score(scores[:, order_columns(scores, Pattern(2, 4))], Pattern(2, 4))
    best = max(
        kept_by_hand(scores[:, [*first, *(c for c in range(8) if c not in first)]], 2, 4)
        for first in combinations(range(8), 4)
    )
    assert found >= 0.999 * best


def test_rounds_never_lower_what_is_kept() -> None:
    scores = uneven(64, 64, seed=1)
    kept = [
        kept_score(scores[:, order_columns(scores, Pattern(2, 4), rounds)], Pattern(2, 4))
        for rounds in range(9)
    ]
    assert all(after >= before * (1 - 1e-6) for before, after in pairwise(kept))
    assert kept[-1] > 1.005 * kept[0]


def test_equal_scores_give_an_order_all_the_same() -> None:
    assert sorted(order_columns(torch.ones(4, 16), Pattern(2, 4)).tolist()) == list(range(16))
    assert sorted(order_columns(torch.zeros(4, 4), Pattern(2, 4)).tolist()) == list(range(4))


def test_the_order_is_the_same_each_time() -> None:
    scores = uneven(32, 64)
    assert torch.equal(order_columns(scores, Pattern(2, 4)), order_columns(scores, Pattern(2, 4)))
