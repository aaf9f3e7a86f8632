"""What is recorded: rows of exactly the settings that the page opens with, and sweeps of a protocol of their own."""

from __future__ import annotations

import pytest

from components.cost.kept import recorded_of, recorded_sweep, shown
from components.cost.request import default_measure
from components.workspace.defaults import SMOLLM2
from wanda_core import Refused
from wanda_core.models.named_sources import SMOLLM2_HUB


@pytest.mark.parametrize("source", [SMOLLM2, SMOLLM2_HUB, "pocket"])
def test_rows_are_those_of_the_first_run(source: str) -> None:
    outcome = recorded_of(source)
    assert outcome is not None
    asked = default_measure(source)
    assert outcome.asked == asked
    assert len(outcome.rows) == len(asked.points)
    for row, point in zip(outcome.rows[1:], asked.points[1:], strict=True):
        assert point.recipe is not None
        named = ("method", "sparsity", "pattern", "group", "allocation", "schedule", "seed")
        assert [row[key] for key in named] == [getattr(point.recipe, key) for key in named]
        assert row["samples"] == asked.setup.samples
        assert len(row["window_losses"]) == asked.setup.windows
        assert row["evaluation_sha256"] == outcome.protocol["evaluation_sha256"]
    setup = asked.setup
    assert (setup.samples, setup.length, setup.windows) == tuple(
        outcome.protocol[key] for key in ("samples", "length", "windows")
    )
    assert sorted(outcome.layers) == list(range(1, len(outcome.rows)))
    assert outcome.focus_of(0) is None
    assert outcome.focus_of(1) is not None
    assert shown(outcome.run) is outcome


def test_another_model_has_nothing_recorded() -> None:
    assert recorded_of("nobody/nothing") is None
    assert recorded_of(["pocket"]) is None
    assert shown("") is None
    for run in ("unknown", 7, "recorded nobody/nothing", ["a"]):
        with pytest.raises(Refused, match="no longer kept"):
            shown(run)


@pytest.mark.parametrize("name", ["amounts", "windows", "texts", "claims", "bytes"])
def test_recorded_sweeps_open_no_points(name: str) -> None:
    outcome = recorded_sweep(name)
    assert outcome.asked is None
    assert outcome.protocol["evaluation"] == "WikiText-2 (test)"
    assert all(outcome.focus_of(index) is None for index in range(len(outcome.rows)))
