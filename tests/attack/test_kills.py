"""Processes that end in the middle: nothing that looks complete is left, leftovers go at the next start, and `--resume`
goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attack.processes import COMPARE, TEXTS, Commands, filled, partial, whole
from tests.support.server import ROOT

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Commands(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_a_killed_export_of_the_command_line(
    kind: str, commands: Commands, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    out = tmp_path / "out"
    line = ["prune", "pocket", *filled(TEXTS, text_file), "--out", str(out)] + ["--packed"] * (
        kind == "packed"
    )
    code, seconds = commands.run(*line)
    assert code == 0
    draw, left = random.Random(kind), 0
    for attempt in range(24):
        if attempt >= 8 and left:
            break  # else the machine was slower when it was timed than it is now
        shutil.rmtree(out, ignore_errors=True)
        # The later part is the writing.
        commands.run(*line, kill_after=seconds * draw.uniform(0.3, 1))
        if out.exists():
            assert kind == "packed" or whole(out) is None
        left += bool(partial(tmp_path))
        tried("kills")
    shutil.rmtree(out, ignore_errors=True)
    assert commands.run(*line)[0] == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert left, "no kill met the writing: the moments are to be drawn anew"


def test_a_killed_export_of_the_page(commands: Commands, tmp_path: Path, tried: Callable[..., None]) -> None:
    code, seconds = commands.run("page", str(tmp_path))
    assert code == 0
    draw = random.Random(0)
    for _ in range(8):
        commands.run("page", str(tmp_path), kill_after=seconds * draw.uniform(0.2, 1))
        assert all(
            ".partial" in str(zipped) for zipped in tmp_path.rglob("*.zip")
        )  # of a server that is no more
        tried("kills")
    assert commands.run("page", str(tmp_path))[0] == 0
    (server,) = (tmp_path / "wanda-lab").iterdir()  # what the dead ones left is gone
    assert len(list(server.rglob("*.zip"))) == 1


@pytest.mark.parametrize("kind", ["methods", "sparsities"])
def test_a_killed_comparison_is_resumed(
    kind: str, commands: Commands, text_file: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    """One of methods, and one over many sparsities, as a sweep is."""
    points = (
        ["--methods", "magnitude,wanda,ria"]
        if kind == "methods"
        else ["--sparsities", "0.2,0.3,0.4,0.5,0.6,0.7"]
    )
    line = [
        "compare",
        "pocket",
        *filled(COMPARE, text_file),
        *points,
        "--json",
        str(tmp_path / "reference.json"),
    ]
    code, seconds = commands.run(*line)
    assert code == 0
    reference = json.loads((tmp_path / "reference.json").read_text())["rows"]
    draw, file, known = random.Random(kind), tmp_path / "rows.json", 0
    for attempt in range(10):
        commands.run(*line[:-1], str(file), "--resume", kill_after=seconds * draw.uniform(0.1, 0.6))
        tried("kills")
        if file.exists():
            rows = json.loads(file.read_text())["rows"]
            assert len(rows) >= known, "a measured row was lost"
            known = len(rows)
        if attempt == 4:
            file.unlink(missing_ok=True)
            known = 0
    assert commands.run(*line[:-1], str(file), "--resume")[0] == 0
    rows = json.loads(file.read_text())["rows"]
    assert [(row["method"], row["sparsity"], row["perplexity"]) for row in rows] == [
        (row["method"], row["sparsity"], row["perplexity"]) for row in reference
    ]
    assert partial(tmp_path) == []


def test_a_killed_copy_of_a_gguf_file_is_cleared(tmp_path: Path, tried: Callable[..., None]) -> None:
    """In the cache that all processes of a user share."""
    from tests.support.gguf import tiny_gguf

    tiny_gguf(tmp_path / "model.gguf")
    load = f"import signal, os; from wanda_core import load; load({str(tmp_path / 'model.gguf')!r})"
    killed = "import transformers; transformers.PreTrainedModel.save_pretrained = lambda self, folder: (open(folder / 'x', 'w'), os.kill(os.getpid(), 9))\n"  # noqa: E501
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    for number in range(4):
        tried("kills")
        program = f"import os\n{killed}{load}" if number < 3 else load
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=False)
        assert ran.returncode == (-9 if number < 3 else 0)
        assert len(partial(tmp_path)) == (number < 3)
    assert len(list((tmp_path / "cache" / "wanda-lab" / "gguf").iterdir())) == 1
