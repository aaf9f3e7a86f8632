"""The scan of the blocks on the page: what is asked for, and its picture."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from components.cost.block_scan import Scan, Scanned, beta_of, chart, check_scan, report
from components.jobs.job import Progress
from components.workspace.focus import Focus
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

SETUP = Setup("pocket", "stories", "stories", samples=2, length=32, windows=2)


def test_the_scan_is_of_the_point_in_focus_and_of_even_ratios() -> None:
    focus = Focus(SETUP, Recipe(sparsity=0.6, allocation="owl", bits=8))
    scan = check_scan({"focus": focus, "source": "pocket"}, ["pocket"])
    assert scan == Scan(SETUP, Recipe(sparsity=0.6))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"source": "pocket"}, "choose a point first"),
        ({"source": "other/model", "focus": Focus(SETUP, Recipe())}, "is of another model"),
    ],
)
def test_what_cannot_be_scanned(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check_scan(values, ["pocket"])


def test_the_job_finds_ratios_that_meet_the_target() -> None:
    events: list[Any] = []
    Scan(SETUP, Recipe(sparsity=0.5)).compute(events.append, threading.Event())
    found = events[-1]
    assert isinstance(found, Scanned)
    assert len(found.perplexities) == len(found.ratios or ()) == 6
    assert sum(found.ratios or ()) / 6 == pytest.approx(0.5)  # its blocks are equally large
    shares = [event.share for event in events if isinstance(event, Progress)]
    assert shares == sorted(shares)


def _traces(found: Scanned, beta: float | None) -> dict[str, list[float]]:
    plot = json.loads(chart(found, beta).plot)
    return {trace["name"]: trace["y"] for trace in plot["data"]}


def test_the_picture_has_the_bars_and_every_allocation() -> None:
    found = Scanned(
        {"source": "pocket", "length": 32}, Recipe(sparsity=0.5), 2.0, (3.0, 2.5, 4.0), (0.5, 0.6, 0.4), 2, ""
    )
    traces = _traces(found, 0.1)
    bars = json.loads(chart(found).plot)["data"][0]
    assert [bars["base"] + above for above in bars["y"]] == bars["customdata"] == [3.0, 2.5, 4.0]
    assert traces["sparsity by sensitivity"] == pytest.approx([50, 60, 40])
    assert traces["sparsity linear, BETA 0.1"] == pytest.approx([40, 50, 60])
    assert not any("linear" in name for name in _traces(found, 0.6))


def test_beta_counts_where_the_panel_asks_for_linear() -> None:
    assert beta_of("linear", 0.02) == 0.02
    assert beta_of("owl", 0.02) is None
    assert beta_of("linear", "0.02") is None


def test_a_files_name_is_text() -> None:
    protocol = {"source": "pocket", "length": 32, "calibration": "<img src=x onerror=alert(1)>.txt"}
    said = report(Scanned(protocol, Recipe(sparsity=0.5), 2.0, (3.0, 2.5), (0.5, 0.5), 2, "told"))
    assert "<img" not in said
    assert "&lt;img" in said
