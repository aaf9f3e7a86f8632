"""A shared model that makes room in the Hub's cache before it loads."""

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
