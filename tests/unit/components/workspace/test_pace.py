"""What a run will take, before anything was measured."""

from __future__ import annotations

import pytest

from components.workspace import pace
from components.workspace.setup import Setup
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe

SETUP = Setup("pocket", "stories", "stories")


def test_every_method_has_a_pace_and_more_work_takes_longer() -> None:
    seconds = {name: pace.prune_seconds(SETUP, Recipe(method=name, sparsity=0.5), 10**8) for name in METHODS}
    assert seconds["wanda"] < seconds["sparsegpt"] < seconds["wanda+admm"] < seconds["admm"]


@pytest.mark.parametrize("recovery", ["blocks", "model"])
def test_a_recovery_takes_several_times_as_long_and_has_a_pace_of_its_own(recovery: str) -> None:
    recipes = [Recipe(method="magnitude", sparsity=0.5, recovery=each) for each in ("none", recovery)]
    plain, recovered = (pace.prune_seconds(SETUP, recipe, 10**8) for recipe in recipes)
    assert recovered > 5 * plain
    known = pace.PACE
    try:
        pace.PACE = pace.Pace()
        pace.learn_from(SETUP, recipes[1], 10**8, {"prune_seconds": 1e3})
        pace.learn_from(SETUP, recipes[0], 10**8, {"prune_seconds": 1.0})
        assert round(pace.prune_seconds(SETUP, recipes[1], 10**8)) == 1000
    finally:
        pace.PACE = known


def test_the_work_of_a_recovery_is_what_the_engine_does() -> None:
    from wanda_core.pruning import recovery

    assert (pace.EPOCHS, pace.STEP_TOKENS) == (recovery.EPOCHS, recovery.TOKENS)


def test_what_one_method_took_does_not_change_what_is_known_of_another() -> None:
    setup = SETUP
    known = pace.PACE
    try:
        pace.PACE = pace.Pace()
        pace.learn_from(setup, Recipe(method="wanda+admm", sparsity=0.5), 10**8, {"prune_seconds": 1e3})
        pace.learn_from(setup, Recipe(method="admm", sparsity=0.5), 10**8, {"prune_seconds": 1.0})
        slow = pace.prune_seconds(setup, Recipe(method="wanda+admm", sparsity=0.5), 10**8)
        assert round(slow) == 1000
    finally:
        pace.PACE = known


def test_an_order_takes_another_forward_and_its_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PACE", pace.Pace())
    recipes = [Recipe(method="wanda", pattern="2:4", order=each) for each in ("none", "channels")]
    plain, ordered = (pace.prune_seconds(SETUP, recipe, 10**8) for recipe in recipes)
    forward = pace.FORWARD * 10**8 * SETUP.samples * SETUP.length
    assert ordered == pytest.approx(plain + forward + pace.ORDER * 10**8)
