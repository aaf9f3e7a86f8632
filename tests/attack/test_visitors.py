"""What visitors share has bounds, and nobody waits for another's model."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from components import lab
from components.inside import handlers
from components.limits import LIMITS
from components.page.blocks import Blocks
from components.recipe.estimate import estimate
from components.workspace import models
from components.workspace.defaults import DEFAULTS


def test_sessions_are_bounded_and_nothing_watches_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: dict[str, Any] = {}
    monkeypatch.setattr(Blocks, "launch", lambda _, **settings: launched.update(settings))
    monkeypatch.setattr(Blocks, "block_thread", lambda _: None)
    monkeypatch.setattr(lab, "warm_up", lambda _: None)
    lab.serve(Blocks(analytics_enabled=False), port=None, mcp=False, warm="pocket")
    assert launched["state_session_capacity"] == LIMITS.sessions <= 1000
    assert launched["enable_monitoring"] is False


def test_no_control_waits_for_a_model_that_loads() -> None:
    """While another's model loads, for minutes where it is fetched, every control of a page answers."""
    focus = lab._first_focus("pocket")
    values = DEFAULTS | {"source": "pocket", "calibration": "stories", "evaluation": "stories"}
    values |= {"amounts": ["50"], "methods": ["wanda"], "focus": focus, "shown": None, "weight": ""}
    done = []

    def ask() -> None:
        handlers.opened_tab(values, ["pocket"])
        handlers.arrived(values, ["pocket"])
        handlers.redrawn(values)
        estimate(values, ["pocket"])
        done.append(True)

    with models._loading:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(60)
    assert done
