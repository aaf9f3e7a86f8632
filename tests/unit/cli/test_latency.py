"""The `latency` command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from wanda_core import Refused
from wanda_core.__main__ import main
from wanda_core.cli.latency import parse_shapes


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanda_core.speed.timing.SECONDS", 0.01)
    monkeypatch.setattr("wanda_core.speed.layer_latency.COLD_BYTES", 10_000)


@pytest.mark.parametrize("text", ["", "12", "4x", "x4", "0x4", "4x4x4", "-4x4", "4x4,", "9999999x4", "axb"])
def test_shapes_that_are_none(text: str) -> None:
    with pytest.raises(Refused, match="--shapes takes"):
        parse_shapes(text)


def test_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "rows.json"), "--csv", str(tmp_path / "rows.csv")]
    assert main(["latency", "--shapes", "64x32,32x64", "--tokens", "1,4", *files]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    content = json.loads((tmp_path / "rows.json").read_text())
    assert {row["shape"] for row in content["rows"]} == {"64x32", "32x64"}
    with (tmp_path / "rows.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(content["rows"])
    assert content["protocol"]["cuda"] == "no CUDA device on this machine"
    assert "CUDA: no CUDA device on this machine" in printed.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "SOURCE or --shapes"),
        (["pocket", "--shapes", "4x4"], "SOURCE or --shapes"),
        (["--shapes", "4by4"], "--shapes takes"),
        (["pocket", "--tokens", "0"], "--tokens takes"),
        (["pocket", "--tokens", "many"], "--tokens takes"),
        (["--shapes", "4x4", "--dtype", "int4"], "--dtype must be"),
        (["--shapes", "4x4", "--device", "tpu"], "--device must be"),
        (["--shapes", "4x4", "--revision", "main"], "--revision applies to"),
        (["pocket", "--json", "no/such/file"], "is no folder"),
        (["none/such/model/here"], "not a Hub id"),
    ],
)
def test_bad_arguments(arguments: list[str], reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", *arguments]) == 2
    error = capfd.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
