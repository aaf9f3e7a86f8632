"""The paper's claims: each is judged by its own figures alone, and not at all where one is missing."""

from __future__ import annotations

from typing import Any

import pytest

from wanda_core.experiments.paper_claims import CLAIMS, NEEDED, judge, points
from wanda_core.experiments.points import Calibration, blank

PAPER = {
    "dense": 5.0,
    "magnitude 50%": 17.0,
    "wanda 50%": 7.0,
    "sparsegpt 50%": 7.0,
    "wanda 50%, whole layer": 8.0,
    "magnitude 50%, rows": 13.0,
    "wanda 50%, 1 window": 7.2,
    "wanda 4:8": 8.5,
    "wanda 2:4": 11.0,
    "wanda 60%": 10.0,
    "wanda 70%": 80.0,
    "wanda 80%": 5000.0,
}
AGAINST = {
    0: {"wanda 50%": 18.0},
    1: {"wanda 50%": 7.5},
    3: {"magnitude 50%, rows": 18.0},
    4: {"wanda 50%, 1 window": 7.5},
    5: {"wanda 4:8": 12.0},
    6: {"wanda 80%": 49.0},
}
"""By claim, a figure that refutes it."""


def rows(perplexities: dict[str, float], seconds: dict[str, float] | None = None) -> list[dict[str, Any]]:
    names = list(NEEDED)
    found = []
    for name, point in zip(names, points(Calibration(16)), strict=True):
        if name in perplexities:
            took = (seconds or {}).get(name, 1.0)
            found.append(blank(point) | {"perplexity": perplexities[name], "prune_seconds": took})
    return found


def test_the_papers_own_figures_bear_out_every_claim() -> None:
    assert [judged.holds for judged in judge(rows(PAPER, {"sparsegpt 50%": 60.0}), 16)] == [True] * len(
        CLAIMS
    )


@pytest.mark.parametrize("place", AGAINST)
def test_a_figure_that_refutes_it(place: int) -> None:
    assert judge(rows(PAPER | AGAINST[place]), 16)[place].holds is False


def test_slower_is_said() -> None:
    assert judge(rows(PAPER, {"wanda 50%": 60.0}), 16)[2].holds is False


def test_without_its_figures_a_claim_is_not_judged() -> None:
    without = {name: value for name, value in PAPER.items() if name != "wanda 50%"}
    judged = judge(rows(without), 16)
    assert [j.holds for j in judged] == [None if "wanda 50%" in j.claim.needs else True for j in judged]
