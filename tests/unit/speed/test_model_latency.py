"""Latency of a whole model, and that it is dense afterwards."""

from __future__ import annotations

import threading

import pytest
import torch

from tests.support.models import assert_untouched, snapshot
from wanda_core import load
from wanda_core.errors import Stopped
from wanda_core.speed.kernels import cpu
from wanda_core.speed.model_latency import by_magnitude, measure_model


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanda_core.speed.timing.SECONDS", 0.01)
    monkeypatch.setattr("wanda_core.speed.layer_latency.COLD_BYTES", 10_000)


def test_whole_model() -> None:
    model = load("pocket")
    before = snapshot(model.network)
    rows, packs = measure_model(model, by_magnitude(model.prunable), prompt=16, new=2, rounds=2)
    assert_untouched(model.network, before)
    assert [(row["part"], row["kernel"]) for row in rows] == [
        (part, kernel) for part in ("prefill", "decode") for kernel in ("dense", "masked dense", "2:4", "50%")
    ]
    assert all(row["tokens_per_second"] > 0 for row in rows)
    dense, _, two_four, _ = rows[4:]
    # All weights but the input embedding are read, unless it is the output head as well.
    tied = model.network.config.tie_word_embeddings
    embedding = 0 if tied else model.network.get_input_embeddings().weight.nbytes
    assert dense["bytes"] == 4 * model.parameters - embedding
    layers = sum(layer.stored.nbytes for layer in model.prunable.layers)
    assert two_four["bytes"] == dense["bytes"] - layers + layers * 2.125 / 4
    assert packs["2:4"].dense == {}
    assert bool(packs["50%"].dense) != cpu.expands(torch.float32)


def test_stopping_leaves_the_model_dense() -> None:
    model = load("pocket")
    before = snapshot(model.network)
    stop = threading.Event()
    progress = lambda share, where: stop.set() if "round 1" in where else None  # noqa: E731
    with pytest.raises(Stopped):
        measure_model(model, by_magnitude(model.prunable), prompt=8, new=2, on_progress=progress, stop=stop)
    assert_untouched(model.network, before)
    assert not any("forward" in vars(part) for part in model.network.modules())
