"""A shared model that makes room before it loads, in the Hub's cache and in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub.utils import _cache_manager

from components.workspace import models as shared
from components.workspace.models import LIMITS, Shelf, Store, shared_model
from tests.support.hub_cache import add, left


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three models of 1,000 bytes; `first/read` was read longest ago."""
    folder = tmp_path / "hub"
    add(folder, "second/read", days=2)
    add(folder, "first/read", days=3)
    add(folder, "last/read", days=1)
    return folder


@pytest.mark.parametrize(
    ("most", "stay"), [(1000, {"first/read"}), (None, {"first/read", "second/read", "last/read"})]
)
def test_a_space_makes_room_before_it_loads_and_keeps_what_is_loaded(
    cache: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, stay: set[str]
) -> None:
    monkeypatch.setattr(_cache_manager, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(shared, "LIMITS", replace(LIMITS, hub_bytes=most))
    models: Shelf = Shelf("models", Store(10**9, seconds=60))
    models.put(("first/read", None, "auto"), object(), 1)
    monkeypatch.setattr(shared, "_models", models)
    assert shared_model(str(llama_folder)) is shared_model(str(llama_folder))
    assert left(cache) == stay


@pytest.mark.parametrize(
    ("free", "needed", "stay"),
    [(50, 50, ["a", "c", "b"]), (50, 51, ["c", "b"]), (50, 151, ["b"]), (50, 10_000, [])],
)
def test_idle_models_give_way_to_one_that_does_not_fit_beside_them(
    monkeypatch: pytest.MonkeyPatch, free: int, needed: int, stay: list[str]
) -> None:
    """The least recently used first, and no more of them than needed; each takes 100 bytes."""
    models: Shelf = Shelf("models", Store(10**9, seconds=60))
    for name in "abc":
        models.put((name, None, "auto"), object(), 100)
    models.get(("b", None, "auto"))  # so that `a` and `c` were used before it
    monkeypatch.setattr(shared, "_models", models)
    monkeypatch.setattr("wanda_core.machine.free_bytes", lambda _: free + 100 * (3 - len(models.held())))
    shared._let_go(needed)
    assert [name for name, *_ in models.held()] == stay


def test_a_load_asks_for_that_room(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it looks whether the model fits: with two idle models in memory it does not."""
    models: Shelf = Shelf("models", Store(10**9, seconds=60))
    for name in "ab":
        models.put((name, None, "auto"), object(), 100)
    monkeypatch.setattr(shared, "_models", models)

    def free(_: object) -> int:
        return 0 if models.get(("b", None, "auto")) else 10**12

    monkeypatch.setattr("wanda_core.machine.free_bytes", free)
    monkeypatch.setattr("wanda_core.models.target.free_bytes", free)
    shared_model(str(llama_folder))
    assert ("b", None, "auto") not in models.held()
