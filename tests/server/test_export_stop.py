"""Stop reaches an export that tells nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from components.jobs.queue import Worker
from components.take_away.job import Export
from components.workspace.setup import Setup
from tests.support.queue import until
from wanda_core.export import folder as module
from wanda_core.method.recipe import Recipe


def test_stop_reaches_an_export_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model is written for minutes without a word; here it is the masks, until the visitor has left."""
    writing, left = threading.Event(), threading.Event()
    save_masks, save_pruned = module.save_masks, module.save_pruned
    stops: list[threading.Event] = []

    def slowly(masks: Any, file: Path) -> None:
        writing.set()
        assert left.wait(60)
        save_masks(masks, file)

    def told(*given: Any, stop: threading.Event, **more: Any) -> None:
        stops.append(stop)
        save_pruned(*given, stop=stop, **more)

    monkeypatch.setattr(module, "save_masks", slowly)
    monkeypatch.setattr(module, "save_pruned", told)
    setup = Setup("pocket", "stories", "stories", length=64)
    recipe = Recipe(method="wanda", sparsity=0.5)
    worker = Worker()
    task = worker.join("visitor", "take-away", Export(setup, recipe, "folder", str(tmp_path)))
    assert writing.wait(60)
    worker.leave("visitor")
    until(stops[0].is_set)  # the worker hears of it at the next sign of life
    left.set()
    until(lambda: task.over)
    assert task.outcome is None
    assert task.failure is None
    assert list((tmp_path / "exports").iterdir()) == []
