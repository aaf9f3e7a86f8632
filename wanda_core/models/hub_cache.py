"""Room on the disk for what is fetched from the Hub."""

from __future__ import annotations

import time
from collections.abc import Container
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from huggingface_hub import CacheNotFound, scan_cache_dir

ABANDONED = 600
"""Seconds after which a download that gets no more bytes is taken for one that broke off."""


def make_room(most_bytes: int, in_use: Container[str], cache: Path | None = None) -> None:
    """Delete the least recently read repos of the Hub's cache until it holds at most `most_bytes`, and before them
    what is left of downloads that broke off.

    Args:
        in_use: ids, owner/name, of repos that stay however large they are.
        cache: the cache's folder; None: where the Hub's library keeps it.
    """
    try:
        found = scan_cache_dir(cache)
    except CacheNotFound:
        return
    size = found.size_on_disk + found.incomplete_size_on_disk
    if size <= most_bytes:
        return
    for partial in found.incomplete_files:
        with suppress(FileNotFoundError):  # it was completed meanwhile
            if time.time() - partial.file_path.stat().st_mtime > ABANDONED:
                partial.file_path.unlink()
                size -= partial.size_on_disk
    for repo in sorted(found.repos, key=lambda repo: repo.last_accessed):
        if size <= most_bytes:
            return
        if repo.repo_id not in in_use:
            # Of this repo alone: another one, a copy of it, may have the same commits.
            alone = replace(found, repos=frozenset({repo}))
            alone.delete_revisions(*(revision.commit_hash for revision in repo.revisions)).execute()
            size -= repo.size_on_disk
