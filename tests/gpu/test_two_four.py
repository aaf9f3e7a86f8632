"""2:4 on CUDA: offered where it runs, by the device it runs on; what fails says so and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.support.simulated_device import SimulatedCuda
from wanda_core import Recipe, find_prunable_layers
from wanda_core.__main__ import main
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.prune_model import prune
from wanda_core.speed import layer_latency, timing
from wanda_core.speed.kernels import cuda as kernels
from wanda_core.speed.packed_model import packed

pytestmark = pytest.mark.gpu
CUSPARSELT, CUTLASS = kernels.BACKENDS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanda_core.speed.timing.SECONDS", 0.01)


def half_model() -> PrunableModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    network = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    return find_prunable_layers(network.half().cuda())


@pytest.mark.parametrize(
    ("capability", "cusparselt", "usable"),
    [
        ((7, 5), True, set()),
        ((8, 0), True, {CUSPARSELT, CUTLASS}),
        ((8, 9), False, {CUTLASS}),
        ((9, 0), True, {CUSPARSELT}),
        ((9, 0), False, set()),
        ((12, 0), True, {CUSPARSELT}),
    ],
)
def test_what_is_offered_runs(
    capability: tuple[int, int], cusparselt: bool, usable: set[str], tokens: Tensor
) -> None:
    with SimulatedCuda(capability, cusparselt=cusparselt):
        device = torch.device("cuda", 1)
        assert {name for name in kernels.BACKENDS if not kernels.why_not_here(name, device)} == usable
        rows = layer_latency.measure_shapes({(64, 128): 1}, [4], device, torch.float16)
        measured = {row["kernel"] for row in rows if row["milliseconds"] is not None}
        assert {f"2:4 {name}" for name in usable} == {
            k for k in measured if k.startswith("2:4") and "," not in k
        }
        missing = {row["kernel"]: row["error"] for row in rows if row["error"]}
        assert all(missing[f"2:4 {name}"] for name in set(kernels.BACKENDS) - usable)
        prunable = half_model()
        pruning = prune(prunable, tokens, Recipe(pattern="2:4"))
        with pruning.applied(prunable):
            expected = prunable.decoder(tokens.cuda()).last_hidden_state
        with packed(prunable, pruning) as how:
            assert bool(how.kernels) == bool(usable)
            assert usable or all(how.dense.values())
            found = prunable.decoder(tokens.cuda()).last_hidden_state
        torch.testing.assert_close(found.cpu(), expected.cpu(), rtol=1e-2, atol=1e-2)


def test_a_kernel_that_fails_says_so_and_the_others_are_measured(
    machine: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "why_not_here", lambda backend, device=None: "")
    machine.capability = (9, 0)
    rows = layer_latency.measure_shapes({(64, 128): 1}, [4], torch.device("cuda"), torch.float16)
    by_kernel = {row["kernel"]: row for row in rows}
    assert "compute capability 8.x" in by_kernel["2:4 cutlass"]["error"]
    assert by_kernel["2:4 cutlass"]["milliseconds"] is None
    assert by_kernel["2:4 cusparselt"]["milliseconds"] > 0
    assert by_kernel["dense"]["milliseconds"] > 0


def test_a_packed_layer_whose_kernel_fails_computes_masked_dense(
    machine: SimulatedCuda, tokens: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "first_backend", lambda *_: "cutlass")
    machine.capability = (9, 0)
    prunable = half_model()
    pruning = prune(prunable, tokens, Recipe(pattern="2:4"))
    with pruning.applied(prunable):
        expected = prunable.decoder(tokens.cuda()).last_hidden_state
    with packed(prunable, pruning) as how:
        assert not how.kernels
        assert all("8.x" in reason for reason in how.dense.values())
        assert prunable.decoder(tokens.cuda()).last_hidden_state.cpu().equal(expected.cpu())


def test_latency_on_the_command_line(
    tmp_path: Path, machine: SimulatedCuda, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    command = ["latency", "--shapes", "64x128", "--tokens", "1,64", "--device", "cuda:1", "--json", str(file)]
    assert main(command) == 0
    assert capfd.readouterr().err == ""
    content = json.loads(file.read_text())
    measured = {(row["kernel"], row["tokens"]) for row in content["rows"] if row["milliseconds"]}
    for kernel in ("dense", "dense, graph", "2:4 cusparselt", "2:4 cusparselt, graph"):
        assert {(kernel, 1), (kernel, 64)} <= measured
    assert content["protocol"]["device"] == machine.name
    assert content["protocol"]["cuda"]


def test_ratios_of_graphs_are_to_the_dense_graph() -> None:
    rows = [
        {"kernel": "dense", "milliseconds": 4.0},
        {"kernel": "dense, graph", "milliseconds": 2.0},
        {"kernel": "2:4 cusparselt", "milliseconds": 8.0},
        {"kernel": "2:4 cusparselt, graph", "milliseconds": 1.0},
    ]
    timing.fill_in_ratios(rows)
    assert [row["times_dense"] for row in rows] == [1, 1, 0.5, 2]


def test_a_call_is_timed_on_its_own_device(machine: SimulatedCuda) -> None:
    weight = torch.ones(8, 8, device="cuda:1")
    # Every kernel takes a millisecond of its own device's clock.
    assert timing.seconds_of(lambda: weight + 1, torch.device("cuda:1")) == pytest.approx(0.001)


def test_copies_are_larger_than_the_cache_of_the_device(machine: SimulatedCuda) -> None:
    """A weight that still lies in the cache from the last round would be read for nothing."""
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    assert layer_latency.cold_bytes(torch.device("cuda", 0)) > cache
    assert layer_latency.cold_bytes(torch.device("cpu")) == layer_latency.COLD_BYTES
