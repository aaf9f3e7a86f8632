"""Models that are exported."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.models import CONFIGS, byte_tokenizer, tiny
from wanda_core import LanguageModel, load


@pytest.fixture
def llama_model(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


@pytest.fixture(params=list(CONFIGS))
def licensed_model(request: pytest.FixtureRequest, tmp_path: Path) -> LanguageModel:
    """One model of every family, loaded from a folder that states a licence and a sparsity."""
    folder = tmp_path / "source"
    tiny(request.param).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nA model.\n")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sparsity_config": {"format": "old"}}))
    return load(str(folder))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, where one may be mounted; else a limit on the size of files, which fails in the same place."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        yield disk
        subprocess.run(["umount", disk], check=True)
    else:
        import resource

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, limits[1]))
        yield disk
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
