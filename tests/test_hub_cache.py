"""The Hub's cache is emptied of what was read longest ago, and of nothing else; on folders laid out as the Hub's
library lays them out."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub.utils import _cache_manager

from components.workspace import models as shared
from components.workspace.models import LIMITS, Store, shared_model
from wanda_core.models.hub_cache import ABANDONED, make_room

COMMIT = "a" * 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three models of 1,000 bytes; `first/read` was read longest ago."""
    folder = tmp_path / "hub"
    add(folder, "second/read", days=2)
    add(folder, "first/read", days=3)
    add(folder, "last/read", days=1)
    return folder


def add(cache: Path, name: str, days: float) -> None:
    """A repo whose files were read so many days ago; all have the same commit, as copies of a repo do."""
    repo = cache / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / COMMIT
    for folder in (repo / "blobs", repo / "refs", snapshot):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    for file, size in {"config.json": 100, "model.safetensors": 900}.items():
        blob = repo / "blobs" / f"{file}-blob"
        blob.write_bytes(b"x" * size)
        (snapshot / file).symlink_to(Path("../../blobs") / blob.name)
        read = time.time() - days * 86400
        os.utime(blob, (read, read))


def left(cache: Path) -> set[str]:
    return {folder.name.removeprefix("models--").replace("--", "/") for folder in cache.iterdir()}


@pytest.mark.parametrize(
    ("most", "stay"),
    [
        (3000, {"first/read", "second/read", "last/read"}),
        (2999, {"second/read", "last/read"}),
        (1000, {"last/read"}),
        (0, set()),
    ],
)
def test_what_was_read_longest_ago_goes_first_and_no_more_than_needed(
    cache: Path, most: int, stay: set[str]
) -> None:
    make_room(most, in_use=(), cache=cache)
    assert left(cache) == stay
    for file in cache.glob("*/snapshots/*/model.safetensors"):
        assert len(file.read_bytes()) == 900


def test_what_is_in_use_stays_though_others_have_the_same_commit(cache: Path) -> None:
    make_room(1000, in_use={"first/read"}, cache=cache)
    assert left(cache) == {"first/read"}


def test_broken_downloads_go_before_models_and_running_ones_stay(cache: Path) -> None:
    blobs = cache / "models--last--read" / "blobs"
    for name, seconds in {"broken": ABANDONED + 60, "running": 0}.items():
        file = blobs / f"{name}.incomplete"
        file.write_bytes(b"x" * 500)
        os.utime(file, (time.time() - seconds,) * 2)
    make_room(3500, in_use=(), cache=cache)
    assert left(cache) == {"first/read", "second/read", "last/read"}
    assert [file.name for file in blobs.glob("*.incomplete")] == ["running.incomplete"]


def test_there_need_not_be_a_cache(tmp_path: Path) -> None:
    make_room(0, in_use=(), cache=tmp_path / "none")


@pytest.mark.parametrize(
    ("most", "stay"), [(1000, {"first/read"}), (None, {"first/read", "second/read", "last/read"})]
)
def test_a_space_makes_room_before_it_loads_and_keeps_what_is_loaded(
    cache: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, stay: set[str]
) -> None:
    monkeypatch.setattr(_cache_manager, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(shared, "LIMITS", replace(LIMITS, hub_bytes=most))
    models = Store(10**9, seconds=60)
    models.put("first/read", object(), 1)
    monkeypatch.setattr(shared, "_models", models)
    assert shared_model(str(llama_folder)) is shared_model(str(llama_folder))
    assert left(cache) == stay
