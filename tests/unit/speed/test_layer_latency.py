"""Latency of a layer's products."""

from __future__ import annotations

import pytest
import torch

from wanda_core.speed import layer_latency as module
from wanda_core.speed.kernels.cpu import TiledTwoFour
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
    assert packed["bytes"] == 64 * 32 * 2.125
    assert packed["bound"] == pytest.approx(4 / 2.125)
    assert packed["low"] <= packed["milliseconds"] <= packed["high"]
    seconds = packed["milliseconds"] / 1000
    assert packed["gigabytes_per_second"] == pytest.approx(64 * 32 * 2.125 / seconds / 1e9)
    assert packed["gigaflops_per_second"] == pytest.approx(2 * 64 * 32 / seconds / 1e9)
    dense = measured["64x32", 1, "dense"]
    assert dense["times_dense"] == 1
    assert packed["times_dense"] == pytest.approx(dense["milliseconds"] / packed["milliseconds"])
    assert missing["40x30", 1, "2:4 numba"] == "2:4 needs inputs in groups of four"
    assert measured["64x32", 20, "dense numba"]["times_own_dense"] == 1
    assert not any("CU" in kernel.upper() for _, _, kernel in measured)


def test_a_dtype_that_no_kernel_takes_is_named() -> None:
    rows = module.measure_shapes({(64, 32): 1}, [1], CPU, torch.float16)
    assert {row["kernel"] for row in rows if row["milliseconds"]} == {"dense", "masked dense"}
    assert {row["error"] for row in rows if row["error"]} == {
        "on a CPU the kernels take float32 and bfloat16"
    }


def test_bfloat16_is_measured() -> None:
    rows = module.measure_shapes({(64, 32): 1}, [1, 20], CPU, torch.bfloat16)
    packed = [row for row in rows if row["kernel"] == "2:4 numba"]
    assert [row["error"] for row in packed] == [None, None]
    assert {row["bytes"] for row in packed} == {64 * 32 * 1.125}


def test_a_wrong_product_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = TiledTwoFour.linear
    monkeypatch.setattr(TiledTwoFour, "linear", lambda self, inputs: right(self, inputs) * 1.001)
    rows = module.measure_shapes({(64, 32): 1}, [1], CPU, torch.float32)
    (row,) = (row for row in rows if row["kernel"] == "2:4 numba")
    assert "gives another product" in row["error"]
    assert row["milliseconds"] is None


def test_the_protocol_says_what_the_machine_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is read the bytes, and of a product two operations for each of its multiplications."""
    monkeypatch.setattr("wanda_core.speed.peaks.seconds_of", lambda call, device: 0.5)
    peaks = module.protocol(None, [1], CPU, torch.float32)["peaks"]
    assert peaks == {"gigabytes_per_second": 2**28 / 0.5e9, "gigaflops_per_second": 2 * 1024**3 / 0.5e9}
