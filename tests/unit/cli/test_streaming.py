"""`--stream`: the same results, and what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.gguf import tiny_gguf
from tests.support.streaming import stored_in_half
from tests.unit.cli.conftest import CALIBRATION, fails
from wanda_core import load_masks
from wanda_core.__main__ import main

NOTE = "is read from its files block by block: in float32 its weights take"


@pytest.fixture
def source(tmp_path: Path) -> str:
    return stored_in_half("llama", tmp_path / "half")


def test_prune_and_compare_give_what_they_give_in_memory(
    source: str, text_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shared = [source, "--calibration", str(text_file), *CALIBRATION]
    evaluated = ["--evaluation", str(text_file), "--windows", "3", "--eval-length", "32"]
    points = ["--sparsities", "0.5", "--patterns", "2:4", "--methods", "wanda,sparsegpt"]
    found = []
    for name, more in (("plain", []), ("streamed", ["--stream"])):
        assert main(["prune", *shared, "--sparsity", "0.5", "--out", str(tmp_path / name), *more]) == 0
        rows = tmp_path / f"{name}.json"
        assert main(["compare", *shared, *evaluated, *points, "--json", str(rows), *more]) == 0
        content = json.loads(rows.read_text())
        for row in content["rows"]:
            del row["prune_seconds"], row["evaluate_seconds"]
        found.append((content, load_masks(tmp_path / name / "masks.safetensors")))
        assert capfd.readouterr().out.count(NOTE) == (2 if more else 0)
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(found[1][1][name].bits, mask.bits) for name, mask in found[0][1].items())


def test_what_takes_all_weights_at_once_is_refused(
    source: str, text_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pruned = ["prune", source, "--calibration", str(text_file), *CALIBRATION, "--sparsity", "0.5", "--stream"]
    said = fails([*pruned, "--packed", "--out", str(tmp_path / "packed")], capfd, tmp_path)
    assert "as a model folder or as masks, not as packed" in said


def test_gguf_is_refused_with_the_reason(
    text_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "prune",
        str(tiny_gguf(tmp_path / "model.gguf")),
        "--calibration",
        str(text_file),
        *CALIBRATION,
        "--stream",
    ]
    said = fails([*arguments, "--out", str(tmp_path / "out")], capfd, tmp_path)
    assert "--stream does not apply to GGUF: its weights are unpacked when they are read" in said
