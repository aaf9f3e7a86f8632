"""Files for download have bounds together: whoever opens saved files can ask for any number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.cost import files
from components.cost.files import own_file
from components.cost.kept import recorded_of
from components.cost.report_file import report_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path / "wanda-lab-results"


@pytest.mark.parametrize("bound", [{"MOST_FILES": 5}, {"FILES_BYTES": 200_000}])
def test_the_oldest_reports_make_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bound: dict[str, int]
) -> None:
    for name, value in bound.items():
        monkeypatch.setattr(files, name, value)
    outcome = recorded_of("pocket")
    assert outcome is not None
    for number in range(20):
        file = Path(report_file(outcome, 5 + number, {}))
        os.utime(file, (1e9 + number, 1e9 + number))
    kept = list(folder.rglob("*.html"))
    assert file in kept
    assert 3 <= len(kept) <= bound.get("MOST_FILES", 20)
    assert sum(each.stat().st_size for each in kept) <= bound.get("FILES_BYTES", 10**9) + file.stat().st_size
    assert sorted(each.stat().st_mtime for each in kept) == [
        1e9 + number for number in range(20 - len(kept), 20)
    ]


def test_another_runs_files_are_forgotten_after_their_time(folder: Path) -> None:
    for name, changed in {"other-7": 1e9, "fresh-7": None}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "a.csv").write_text("x")
        if changed:
            os.utime(folder / name, (changed, changed))
    outcome = recorded_of("pocket")
    assert outcome is not None
    own_file(outcome, "b.csv")
    assert {each.name for each in folder.iterdir()} == {"fresh-7", "recorded-pocket-7"}
