"""A prune and a compare that take a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from wanda_core.__main__ import main

CALIBRATION = ["--samples", "4", "--length", "32"]


@pytest.fixture
def prune_into(llama_folder: Path, text_file: Path, tmp_path: Path) -> list[str]:
    """Arguments of a `prune` that works."""
    return [
        "prune", str(llama_folder), "--calibration", str(text_file), *CALIBRATION, "--out", str(tmp_path / "out")
    ]  # fmt: skip


@pytest.fixture
def compare_into(llama_folder: Path, text_file: Path, tmp_path: Path) -> list[str]:
    """Arguments of a `compare` that works."""
    return [
        "compare", str(llama_folder), "--calibration", str(text_file), *CALIBRATION,
        "--evaluation", str(text_file), "--windows", "3", "--eval-length", "32", "--json", str(tmp_path / "rows.json"),
    ]  # fmt: skip


def fails(arguments: list[str], capfd: pytest.CaptureFixture[str], folder: Path) -> str:
    """Run; check that there is exit code 2, one line on standard error and no new file; return the line."""
    before = sorted(folder.rglob("*"))
    capfd.readouterr()
    assert main(arguments) == 2
    error = capfd.readouterr().err
    assert error.startswith("wanda_core: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return error
