"""Choosing on CUDA: the CPU's choice to the bit, without the one slow kernel, and few waits for the device."""

from __future__ import annotations

import linecache

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.models import tiny
from tests.support.simulated_device import ROOT, SimulatedCuda
from wanda_core import Recipe, find_prunable_layers
from wanda_core.method import masks
from wanda_core.method.masks import keep_highest
from wanda_core.method.packed_mask import PackedMask
from wanda_core.pruning.prune_model import prune

pytestmark = pytest.mark.gpu


def numbers(kind: str, rows: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * size)
    drawn = torch.randn(rows, size, generator=generator)
    if kind == "scores":
        return drawn.abs()
    if kind == "ties":
        return (drawn.abs() * 4).round()
    if kind == "signs":
        return torch.where(drawn.abs() < 0.5, torch.copysign(torch.zeros(()), drawn), drawn)
    if kind == "infinities":
        return torch.where(drawn.abs() > 1.5, torch.copysign(torch.tensor(torch.inf), drawn), drawn)
    if kind == "subnormal":
        return drawn * 1e-40
    return torch.full((rows, size), 0.25)


def expected(scores: Tensor, prune: int) -> np.ndarray:
    """By a stable sort of each row: of equal scores the earlier ones go."""
    array = scores.numpy()
    kept = np.ones(array.shape, dtype=bool)
    for row, order in enumerate(np.argsort(array + 0.0, axis=1, kind="stable")):
        kept[row, order[:prune]] = False
    return kept


@pytest.mark.parametrize("kind", ["scores", "ties", "signs", "infinities", "subnormal", "equal"])
@pytest.mark.parametrize(("rows", "size"), [(1, 100_000), (3, 70_001), (50, 40)])
def test_the_choice_is_that_of_a_stable_sort(kind: str, rows: int, size: int, cuda: torch.device) -> None:
    scores = numbers(kind, rows, size)
    there = scores.to(cuda)
    for prune_count in (1, size // 3, size // 2, size - 1):
        wanted = expected(scores, prune_count)
        assert (keep_highest(there, prune_count).cpu().numpy() == wanted).all()
        assert (keep_highest(scores, prune_count).numpy() == wanted).all()


def test_large_groups_do_not_meet_the_slow_kernel(
    machine: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kthvalue` gives each group to one of the device's hundred processors: 0.7 s for 100 million weights."""
    shapes = []
    slow = torch.kthvalue
    monkeypatch.setattr(torch, "kthvalue", lambda s, *a, **k: shapes.append(s.shape) or slow(s, *a, **k))
    keep_highest(torch.rand(1, 2 * masks.LARGE_GROUP, device="cuda"), 100)
    assert shapes == []
    keep_highest(torch.rand(masks.MANY_GROUPS, 40, device="cuda"), 20)
    assert shapes == [(masks.MANY_GROUPS, 40)]


@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (5, 13), (64, 48)])
def test_masks_are_packed_where_they_are(shape: tuple[int, int], machine: SimulatedCuda) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    wanted = np.packbits(mask.numpy(), axis=1)
    for there in (mask.cuda(), mask.t().contiguous().cuda().t()):
        machine.crossed.clear()
        packed = PackedMask.pack(there)
        assert (packed.bits == wanted).all()
        assert packed.bits.flags.c_contiguous
        assert sum(machine.crossed.values()) == wanted.nbytes
        machine.crossed.clear()
        back = packed.unpack(torch.device("cuda", 0))
        assert back.is_cuda
        assert sum(machine.crossed.values()) == wanted.nbytes
        assert back.cpu().equal(mask)
    assert PackedMask.pack(mask).unpack().equal(mask)


def waits_of_ours(machine: SimulatedCuda) -> int:
    """How often the engine let the host wait; transformers does so once for each forward."""
    calls = "self.prunable.decoder("
    return sum(count for (line, _), count in machine.waits.items() if calls not in source(line))


def source(line: str) -> str:
    file, _, number = line.rpartition(":")
    return linecache.getline(str(ROOT / file), int(number))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(pattern="2:4"),
        Recipe(method="magnitude"),
        Recipe(method="ria"),
        Recipe(schedule="block"),
        Recipe(schedule="dense"),
    ],
)
def test_the_host_waits_at_most_six_times_a_layer(
    recipe: Recipe, tokens: Tensor, machine: SimulatedCuda
) -> None:
    prunable = find_prunable_layers(tiny("llama").cuda())
    counts = []
    for micro_batch in (1, 2, 4):
        machine.waits.clear()
        prune(prunable, tokens, recipe, micro_batch=micro_batch)
        counts.append(waits_of_ours(machine))
    assert counts[0] == counts[1] == counts[2]  # none for each micro-batch
    assert counts[0] <= 6 * len(prunable.layers) + 1  # and one at the end of the walk


def test_seconds_are_the_devices(tokens: Tensor, machine: SimulatedCuda) -> None:
    """Each kernel takes a millisecond of the simulated device's clock, and next to nothing of the host's."""
    prunable = find_prunable_layers(tiny("llama").cuda())
    layers = len(prunable.layers)
    one, two = (
        prune(prunable, tokens, Recipe(method="wanda+admm"), micro_batch=size).seconds for size in (8, 4)
    )
    # Query, key and value share their statistics, gate and up do.
    assert 1000 * one["statistics"] >= 5 * 4 * layers / 7
    assert two["statistics"] == pytest.approx(2 * one["statistics"], rel=0.1)
    for stage in ("selection", "updates", "masks", "errors"):
        assert one[stage] == two[stage]
        assert 1000 * one[stage] == pytest.approx(round(1000 * one[stage]))
        assert 1000 * one[stage] >= 3 * layers
    assert one["updates"] > one["masks"]
