"""The page's side of a CUDA device."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from components.cache import Shelf, Store
from components.speed import figures, job, report
from components.speed.job import Latency, MeasureLatency
from components.workspace import models
from components.workspace.setup import Setup
from tests.support.simulated_device import SimulatedCuda
from wanda_core import Recipe, Refused, load
from wanda_core.speed import layer_latency, timing

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_models", Shelf("models", Store(10**10, seconds=60)))


def test_another_model_takes_the_place_of_an_idle_one_on_a_full_card() -> None:
    with SimulatedCuda() as probe:
        pocket = models.shared_model("pocket")
        size = probe.cards[0].allocated
        assert pocket.device.type == "cuda"
        del pocket
        models._models.drop(("pocket", None, "auto"))
    with SimulatedCuda(memory=size + size // 8) as machine:
        models.shared_model("pocket")
        assert machine.cards[0].allocated >= size
        with pytest.raises(Refused, match="are free"):
            load("pocket")  # nobody makes room
        again = models.shared_model("pocket", dtype="float16")
        assert again.device.type == "cuda"
        assert models.loaded("pocket") is None


@pytest.fixture(scope="module")
def latency() -> Latency:
    """What the page's job measures, on a device that runs both back ends; in short."""
    events: list[Any] = []
    setup = Setup("pocket", "stories", "stories", samples=2, length=64, windows=2, dtype="bfloat16")
    job = MeasureLatency(setup, Recipe(method="magnitude", pattern="2:4"))
    with pytest.MonkeyPatch.context() as patched, SimulatedCuda((8, 0)):
        patched.setattr(models, "_models", Shelf("models", Store(10**10, seconds=60)))
        patched.setattr(timing, "ROUNDS", 2)
        patched.setattr(layer_latency, "cold_bytes", lambda device: 0)
        job.compute(events.append, threading.Event())
        patched.undo()
    return events[-1]


@pytest.mark.long
def test_speed_measures_where_two_four_can_win_and_where_not(latency: Latency) -> None:
    layers = [row for row in latency.rows if row["part"] == "layer"]
    assert {row["tokens"] for row in layers} == {1, 16, 128, 1024, 4096}
    assert {row["kernel"] for row in layers} > {"dense", "dense, graph", "2:4 cusparselt", "2:4 cutlass"}
    prefill = next(row for row in latency.rows if row["part"] == "prefill")
    assert prefill["tokens"] == latency.protocol["prompt"] > job.PROMPT
    assert f"a prompt of {prefill['tokens']} random tokens" in report.protocol_html(latency.protocol, False)


@pytest.mark.long
def test_speed_shows_eager_and_graph_side_by_side(latency: Latency) -> None:
    assert figures.GRAPH == timing.GRAPH
    figure = figures.shapes_figure(latency.rows)
    bars = {bar.name: bar for bar in figure.data if bar.type == "bar"}
    assert "dense, as a CUDA graph" not in bars  # it is what the graphs are compared with
    eager, graph = bars["2:4, cuSPARSELt"], bars["2:4, cuSPARSELt, as a CUDA graph"]
    assert graph.marker.color == eager.marker.color != figures.OTHER
    assert graph.marker.pattern.shape != eager.marker.pattern.shape
    rows = [row for row in latency.rows if row["kernel"] == "2:4 cusparselt, graph"]
    assert sorted(y for bar in figure.data if bar.name == graph.name for y in bar.y) == sorted(
        row["times_dense"] for row in rows
    )


@pytest.mark.long
def test_speed_puts_published_figures_beside_those_of_a_gpu(latency: Latency) -> None:
    said = report.published_html(latency.rows)
    assert all(source in said for _, _, source in report.PUBLISHED)
    assert report.published_html(job.recorded().rows) == ""
