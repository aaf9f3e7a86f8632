"""What is said of a CUDA machine, and where models go that are loaded onto it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.models import tiny
from tests.support.simulated_device import SimulatedCuda
from wanda_core import Recipe, Refused, find_prunable_layers, load, machine
from wanda_core.__main__ import main
from wanda_core.machine import dtype_named
from wanda_core.models import target
from wanda_core.models.gguf_file import check_gguf
from wanda_core.models.target import Target
from wanda_core.pruning.prune_model import prune

pytestmark = pytest.mark.gpu
CPU = torch.device("cpu")


def test_conditions_tell_what_a_last_bit_depends_on(tokens: Tensor, machine: SimulatedCuda) -> None:
    found = prune(find_prunable_layers(tiny("llama").cuda()), tokens, Recipe()).conditions
    assert found["device"] == machine.name
    assert found["cuda"] == torch.version.cuda
    assert found["driver"]
    assert found["float32_products"] == "highest"
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        found = prune(find_prunable_layers(tiny("llama").cuda()), tokens, Recipe()).conditions
    finally:
        torch.set_float32_matmul_precision(before)
    assert found["float32_products"] == "high"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  12",
            "550.54.15",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U16)",
            "570.86.15",
        ),
        ("nothing of the kind", "unknown"),
    ],
)
def test_the_drivers_version(text: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, **_: text)
    assert machine._driver() == version


def test_a_device_that_is_not_there(machine: SimulatedCuda, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--shapes", "64x64", "--device", "cuda:7"]) == 2
    assert re.fullmatch(
        r"\S+ --device cuda:7: this machine has 2 CUDA devices; try .*cpu\n", capfd.readouterr().err
    )


@pytest.mark.parametrize(
    ("built", "said"), [("12.8", "for CUDA 12.8, older drivers fail"), (None, "without CUDA")]
)
def test_no_device_that_torch_can_use(
    built: str | None, said: str, machine: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the driver is older than the build, or the build has no CUDA."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    with pytest.raises(Refused, match=f"no CUDA device that torch can use .*{said}"):
        load("pocket", device="cuda")
    assert load("pocket").device == CPU


def test_a_device_that_is_lost(machine: SimulatedCuda, capfd: pytest.CaptureFixture[str]) -> None:
    machine.cards[0].fail_at(
        4, lambda size: torch.AcceleratorError("CUDA error: unspecified launch failure\nmore")
    )
    command = ["latency", "--shapes", "64x64", "--tokens", "4", "--device", "cuda"]
    assert main(command) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "the CUDA device failed (CUDA error: unspecified launch failure): run again" in error
    assert main(command) == 0


def test_weights_that_are_converted_need_the_machines_memory(
    llama_folder: Path, machine: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = target.free_bytes
    monkeypatch.setattr(target, "free_bytes", lambda device: 1000 if device == CPU else free(device))
    assert load(str(llama_folder)).device.type == "cuda"  # mapped from its file
    with pytest.raises(Refused, match=r"of the machine's own memory on its way to cuda, 0\.0 MB are free"):
        load(str(llama_folder), dtype="bfloat16")


@pytest.mark.parametrize(
    ("device", "dtype", "loaded"),
    [
        ("cuda", "auto", torch.bfloat16),
        ("cuda", "float32", torch.float32),
        ("cpu", "auto", torch.float32),
    ],
)
def test_a_gguf_file_is_no_larger_than_need_be(
    device: str,
    dtype: str,
    loaded: torch.dtype,
    tmp_path: Path,
    machine: SimulatedCuda,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On CUDA 2:4 kernels take two-byte floats alone."""
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(100))
    place = torch.device(device)
    kind = dtype_named(dtype, torch.float32 if device == "cpu" else "auto")
    assert check_gguf("model.gguf", file, Target(place, kind, None)) == (loaded, 0)
    monkeypatch.setattr(target, "free_bytes", lambda at: 10**9 if at == place else 10)
    if device == "cuda":
        with pytest.raises(Refused, match="of the machine's own memory"):
            Target(place, kind, None).refuse_unfit("model.gguf", 1000, mapped=False)
