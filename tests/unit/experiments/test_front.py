"""The front of bytes and perplexity, against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wanda_core.experiments.front import Bought, beaten_by, best_within, front

POINTS = st.lists(
    st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=12
).map(lambda pairs: [Bought(f"p{n}", *pair) for n, pair in enumerate(pairs)])  # fmt: skip


def beats(one: Bought, other: Bought) -> bool:
    """Neither larger nor worse, and better in one of them."""
    no_worse = one.bytes <= other.bytes and one.loss <= other.loss
    return no_worse and (one.bytes, one.loss) != (other.bytes, other.loss)


@given(POINTS)
def test_the_front_is_what_nothing_beats(points: list[Bought]) -> None:
    wanted = {(p.bytes, p.loss) for p in points if not any(beats(other, p) for other in points)}
    found = front(points)
    assert [(p.bytes, p.loss) for p in found] == sorted(wanted)


@given(POINTS)
def test_what_beats_a_point_is_said(points: list[Bought]) -> None:
    for point, by in zip(points, beaten_by(points), strict=True):
        assert (by is not None) == any(beats(other, point) for other in points)
        if by is not None:
            assert by in points
            assert beats(by, point)
            assert by.loss == min(other.loss for other in points if other.bytes <= point.bytes)


@given(POINTS, st.integers(0, 9))
def test_the_best_within_some_bytes(points: list[Bought], most: int) -> None:
    best = best_within(most, points)
    fitting = [point for point in points if point.bytes <= most]
    assert (best is None) == (not fitting)
    if best is not None:
        assert best.bytes <= most
        assert best.loss == min(point.loss for point in fitting)
