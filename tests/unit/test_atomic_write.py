"""A file is the old one or the new one, whole, and nothing else is left beside it."""

from __future__ import annotations

import threading
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
    with pytest.raises(Refused, match=r"cannot be written|no plain file"):
        write_whole(tmp_path / place, "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    texts = [str(number) * 200_000 for number in range(8)]
    faults: list[Refused] = []

    def write(text: str) -> None:
        try:
            for _ in range(20):
                write_whole(file, text)
        except Refused as error:
            faults.append(error)

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert faults == []
    assert file.read_text(encoding="utf-8") in texts
    assert list(tmp_path.iterdir()) == [file]
