"""What becomes of a file once it has been read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.sweep.saved_sweeps import saved_sweep
from wanda_core.assets import ASSETS

POCKET = ASSETS / "pocket"


@pytest.mark.parametrize(
    ("place", "stays"),
    [
        (f"uploads/{'0f' * 32}/sweep.json", False),
        ("uploads/sweeps/amounts/wanda-lab.json", True),
        ("uploads/sweep.json", True),
        ("uploads/exports/sweep.json", True),
        (f"elsewhere/{'0f' * 32}/sweep.json", True),
    ],
)
def test_only_an_upload_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, stays: bool
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    shutil.copy(POCKET.parent / "recorded" / "sweep-amounts.json", file)
    assert saved_sweep(str(file)).origin == "saved"
    assert file.exists() == stays
