"""Room for uploads: the oldest are deleted, and what others keep in the same folder is not."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from components import uploads
from components.uploads import make_room


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five uploads of 100 bytes, the first the oldest; two that broke off, one just now; a file of results."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(uploads, "LIMITS", replace(uploads.LIMITS, uploads_bytes=1000))
    for number in range(5):
        place = tmp_path / f"{number:064x}"
        place.mkdir()
        (place / "a.txt").write_bytes(b"x" * 100)
        os.utime(place, (time.time() - 100 + number,) * 2)
    for name, age in (("tmpnow", 1), ("tmplate", 1000)):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / "wanda-lab-results").mkdir()
    (tmp_path / "wanda-lab-results" / "rows.csv").write_bytes(b"x" * 5000)
    return tmp_path


def left(folder: Path) -> list[str]:
    return sorted(place.name.lstrip("0") or "0" for place in folder.iterdir())


OTHERS = ["tmpnow", "wanda-lab-results"]


@pytest.mark.parametrize(
    ("needed", "kept"),
    [(0, ["0", "1", "2", "3", "4"]), (400, ["0", "1", "2", "3", "4"]), (600, ["2", "3", "4"]), (900, [])],
)
def test_the_oldest_make_room(folder: Path, needed: int, kept: list[str]) -> None:
    make_room(needed)
    assert left(folder) == [*kept, *OTHERS]


def test_many_small_ones_are_bounded_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_UPLOADS", 4)
    make_room(0)
    assert left(folder) == ["3", "4", *OTHERS]
