"""Measuring: rows that hold together, kernels checked before they are timed, the command line, and uploads."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import pytest
import torch

from tests.conftest import assert_untouched, snapshot
from wanda_core import Refused, load
from wanda_core.__main__ import main
from wanda_core.cli.latency import parse_shapes
from wanda_core.errors import Stopped
from wanda_core.speed import layer_latency as module
from wanda_core.speed.kernels import lanes
from wanda_core.speed.kernels.cpu import TiledTwoFour
from wanda_core.speed.model_latency import by_magnitude, measure_model
from wanda_core.speed.timing import COLUMNS

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanda_core.speed.timing.SECONDS", 0.01)
    monkeypatch.setattr("wanda_core.speed.layer_latency.COLD_BYTES", 10_000)


def test_rows_of_shapes() -> None:
    rows = module.measure_shapes({(64, 32): 3, (40, 30): 1}, [1, 20], CPU, torch.float32)
    assert all(set(row) == set(COLUMNS) for row in rows)
    measured = {(row["shape"], row["tokens"], row["kernel"]): row for row in rows if row["error"] is None}
    missing = {(row["shape"], row["tokens"], row["kernel"]): row["error"] for row in rows if row["error"]}
    packed = measured["64x32", 1, "2:4 numba"]
    assert packed["layers"] == 3
    assert packed["bytes"] == 64 * 32 * 2.25
    assert packed["bound"] == pytest.approx(4 / 2.25)
    assert packed["low"] <= packed["milliseconds"] <= packed["high"]
    dense = measured["64x32", 1, "dense"]
    assert dense["times_dense"] == 1
    assert packed["times_dense"] == pytest.approx(dense["milliseconds"] / packed["milliseconds"])
    assert missing["40x30", 1, "2:4 numba"] == "2:4 needs inputs in groups of four"
    assert "beyond 8 tokens" in missing["64x32", 20, "dense numba"]
    assert not any("CU" in kernel.upper() for _, _, kernel in measured)


def test_a_dtype_that_no_kernel_takes_is_named() -> None:
    rows = module.measure_shapes({(64, 32): 1}, [1], CPU, torch.bfloat16)
    assert {row["kernel"] for row in rows if row["milliseconds"]} == {"dense", "masked dense"}
    assert {row["error"] for row in rows if row["error"]} == {"on a CPU the kernels take float32 only"}


def test_a_wrong_product_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = TiledTwoFour.linear
    monkeypatch.setattr(TiledTwoFour, "linear", lambda self, inputs: right(self, inputs) * 1.001)
    rows = module.measure_shapes({(64, 32): 1}, [1], CPU, torch.float32)
    (row,) = (row for row in rows if row["kernel"] == "2:4 numba")
    assert "gives another product" in row["error"]
    assert row["milliseconds"] is None


def test_whole_model() -> None:
    model = load("pocket")
    before = snapshot(model.network)
    rows, packs = measure_model(model, by_magnitude(model.prunable), prompt=16, new=2, rounds=2)
    assert_untouched(model.network, before)
    assert [(row["part"], row["kernel"]) for row in rows] == [
        (part, kernel) for part in ("prefill", "decode") for kernel in ("dense", "masked dense", "2:4", "50%")
    ]
    assert all(row["tokens_per_second"] > 0 for row in rows)
    dense, _, two_four, _ = rows[4:]
    # All weights but the input embedding are read, unless it is the output head as well.
    tied = model.network.config.tie_word_embeddings
    embedding = 0 if tied else model.network.get_input_embeddings().weight.nbytes
    assert dense["bytes"] == 4 * model.parameters - embedding
    layers = sum(layer.stored.nbytes for layer in model.prunable.layers)
    assert two_four["bytes"] == dense["bytes"] - layers + layers * 2.25 / 4
    assert packs["2:4"].dense == {}
    assert bool(packs["50%"].dense) != lanes.fast()


def test_stopping_leaves_the_model_dense() -> None:
    model = load("pocket")
    before = snapshot(model.network)
    stop = threading.Event()
    progress = lambda share, where: stop.set() if "round 1" in where else None  # noqa: E731
    with pytest.raises(Stopped):
        measure_model(model, by_magnitude(model.prunable), prompt=8, new=2, on_progress=progress, stop=stop)
    assert_untouched(model.network, before)
    assert not any("forward" in vars(part) for part in model.network.modules())


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
    if not torch.cuda.is_available():
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
        (["--shapes", "4x4", "--revision", "main"], "--revision goes with"),
        (["pocket", "--json", "no/such/file"], "is no folder"),
        (["none/such/model/here"], "not a Hub id"),
    ],
)
def test_bad_arguments(arguments: list[str], reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", *arguments]) == 2
    error = capfd.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rows_on_cuda() -> None:
    rows = module.measure_shapes({(256, 512): 1, (48, 40): 1}, [1, 64], torch.device("cuda"), torch.float16)
    by_kernel = {(row["shape"], row["kernel"]): row for row in rows if row["tokens"] == 64}
    for backend in ("cusparselt", "cutlass"):
        row = by_kernel["256x512", f"2:4 {backend}"]
        assert (row["milliseconds"] or 0) > 0 or row["error"]
        assert "multiples of" in by_kernel["48x40", f"2:4 {backend}"]["error"]
    assert by_kernel["256x512", "2:4 cutlass"]["milliseconds"] > 0
