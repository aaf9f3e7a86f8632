"""Stop reaches an export that tells nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from components.jobs.queue import Worker
from components.jobs.runner import HEARTBEAT
from components.take_away.job import Export
from components.workspace.setup import Setup
from tests.support.queue import until
from wanda_core.export import folder as module
from wanda_core.method.recipe import Recipe


def test_stop_reaches_an_export_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model is written for minutes without a word; here it is the masks, until the visitor has left."""
    writing, left = threading.Event(), threading.Event()
    save_masks = module.save_masks

    def slowly(masks: Any, file: Path) -> None:
        writing.set()
        assert left.wait(60)
        save_masks(masks, file)

    monkeypatch.setattr(module, "save_masks", slowly)
    setup = Setup("pocket", "stories", "stories", length=64)
    recipe = Recipe(method="wanda", sparsity=0.5)
    worker = Worker()
    task = worker.join("visitor", "take-away", Export(setup, recipe, "folder", str(tmp_path)))
    assert writing.wait(60)
    worker.leave("visitor")
    time.sleep(2 * HEARTBEAT)  # the worker hears of it at the next sign of life
    left.set()
    until(lambda: task.over)
    assert task.outcome is None
    assert task.failure is None
    assert list((tmp_path / "exports").iterdir()) == []
