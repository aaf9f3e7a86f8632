"""Folders laid out as the Hub's library lays them out."""

from __future__ import annotations

import os
import time
from pathlib import Path

COMMIT = "a" * 40


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
