"""The Hub's cache is emptied of what was read longest ago, and of nothing else; on folders laid out as the Hub's
library lays them out."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.hub_cache import add, left
from wanda_core.models.hub_cache import ABANDONED, make_room


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three models of 1,000 bytes; `first/read` was read longest ago."""
    folder = tmp_path / "hub"
    add(folder, "second/read", days=2)
    add(folder, "first/read", days=3)
    add(folder, "last/read", days=1)
    return folder


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
