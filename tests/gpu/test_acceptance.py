"""The command that proves a real GPU: it passes where all is well, and says what is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks import gpu_acceptance
from tests.support.planted import planted

pytestmark = [pytest.mark.gpu, pytest.mark.long]


def run(monkeypatch: pytest.MonkeyPatch, file: Path, steps: str) -> tuple[int, list[dict]]:
    monkeypatch.setenv("WANDA_LAB_DEVICE", "simulated:9.0")
    monkeypatch.setattr("wanda_core.speed.timing.SECONDS", 0.01)
    arguments = ["gpu_acceptance.py", "--size", "tiny", "--only", steps, "--json", str(file)]
    monkeypatch.setattr(sys, "argv", arguments)
    code = gpu_acceptance.main()
    return code, json.loads(file.read_text())["rows"]


def test_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = run(monkeypatch, tmp_path / "rows.json", "agreement,prune,memory,kernels,model")
    assert code == 0
    passed = sum(row["passed"] is True for row in rows)
    assert capsys.readouterr().out.splitlines()[-1] == f"{passed} passed, 0 failed"
    assert {row["step"] for row in rows} == {"machine", "agreement", "prune", "memory", "kernels", "model"}
    assert not any("no time left" in row["what"] for row in rows)


@pytest.mark.parametrize(
    ("steps", "module", "right", "wrong"),
    [
        ("agreement,kernels", "method.scores", "weight.abs().mul_(norms)", "weight.abs() + norms * weight.is_cuda"),
        ("memory,kernels", "pruning.memory_needed", "+ max(running, deciding)", "- held // 2"),
        ("agreement,kernels", "pruning.prune_model", "tokens = tokens.to(device)", "pass"),
    ],
)  # fmt: skip
def test_what_is_wrong_fails_and_the_rest_goes_on(
    steps: str, module: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with planted(f"wanda_core.{module}", right, wrong):
        code, rows = run(monkeypatch, tmp_path / "rows.json", steps)
    assert code == 1
    assert {row["step"] for row in rows if row["passed"] is False} == {steps.split(",")[0]}
    assert any(row["step"] == "kernels" and row["passed"] for row in rows)
