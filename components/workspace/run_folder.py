"""Runs as files of a folder, on one's own machine: `app --runs FOLDER`."""

from __future__ import annotations

import os
from pathlib import Path

from components.workspace.run_summary import MOST_RUNS, Run, as_json, read_runs
from wanda_core.atomic_write import write_whole
from wanda_core.errors import Refused

VARIABLE = "WANDA_LAB_RUNS"
"""Names the folder; `--runs` sets it."""


def place() -> Path | None:
    """The folder, if there is to be one."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def keep(run: Run) -> None:
    """Write a finished run, if there is a folder."""
    folder = place()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{run.id}.json", as_json([run]) + "\n")


def kept() -> list[Run]:
    """The runs of the folder, the newest first; files that are none are passed over."""
    folder = place()
    if folder is None or not folder.is_dir():
        return []
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    runs = []
    for file in files[:MOST_RUNS]:
        try:
            runs += read_runs(file.read_text(encoding="utf-8"))
        except (Refused, OSError, UnicodeError):
            continue
    return runs
