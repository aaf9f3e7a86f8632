"""A file is the old one or the new one, whole, and nothing else is left beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wanda_core import Refused
from wanda_core.atomic_write import write_whole


def test_new_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    for text in ("first", "secönd\n"):
        write_whole(file, text)
        assert file.read_bytes() == text.encode()
        assert list(tmp_path.iterdir()) == [file]


def test_until_the_last_step_the_old_one_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.json"
    write_whole(file, "old")
    seen: list[str] = []

    def breaks_off(stage: Path, _: Path) -> None:
        seen.append(file.read_text())
        assert stage.read_text() == "new"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", breaks_off)
    with pytest.raises(Refused, match=r"rows\.json cannot be written: Input/output error"):
        write_whole(file, "new")
    assert seen == ["old"]
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("place", ["missing/rows.json", "folder"])
def test_where_nothing_can_be_written_it_says_so(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match="cannot be written"):
        write_whole(tmp_path / place, "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
