"""Memory of a CUDA device: what torch's cache holds is free, what runs out is said, and the next run works."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.support.architectures import EXPERTS, build
from tests.support.models import assert_untouched, snapshot, tiny
from tests.support.simulated_card import out_of_memory
from tests.support.simulated_device import SimulatedCuda
from tests.unit.pruning.test_architectures import FAMILIES
from wanda_core import Recipe, Refused, find_prunable_layers, load
from wanda_core.__main__ import main
from wanda_core.evaluation.perplexity import perplexity
from wanda_core.machine import LIBRARIES, free_bytes, is_out_of_memory
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import SCHEDULES
from wanda_core.pruning.memory_needed import walk_bytes
from wanda_core.pruning.prune_model import prune

pytestmark = pytest.mark.gpu
MIB = 2**20
FAILURES: dict[str, Callable[[int], Exception]] = {
    "torch": out_of_memory,
    "driver": lambda size: torch.AcceleratorError("CUDA error: out of memory"),
    "cublas": lambda size: RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    ),
}


def test_what_torch_keeps_for_later_is_free(machine: SimulatedCuda) -> None:
    device = torch.device("cuda", 0)
    before = free_bytes(device)
    held = torch.ones(64, MIB // 4, device=device)
    assert free_bytes(device) == before - 64 * MIB
    del held
    assert torch.cuda.mem_get_info(device)[0] == before - 64 * MIB
    assert free_bytes(device) == before


def test_a_second_run_is_accepted(tokens: Tensor, machine: SimulatedCuda) -> None:
    prunable = find_prunable_layers(tiny("llama").cuda())
    needed = walk_bytes(prunable, len(tokens), tokens.shape[1], 2, "layer")
    # All that a first walk could have taken and left in torch's cache.
    machine.cards[0].memory = machine.cards[0].allocated + needed + MIB
    for _ in range(2):
        held = torch.empty(needed // 4, device="cuda")
        del held
        prune(prunable, tokens, Recipe(), micro_batch=2)


PAIRED = (("wanda", "torch"), ("magnitude", "driver"), ("sparsegpt", "cublas"), ("wanda+admm", "torch"))
"""Each method and each failure; all with all are long."""


@pytest.mark.parametrize(
    ("method", "failure"),
    [
        pytest.param(*pair, marks=() if pair in PAIRED else pytest.mark.long)
        for pair in product(("wanda", "magnitude", "sparsegpt", "wanda+admm"), FAILURES)
    ],
)
def test_out_of_memory_anywhere_is_refused_and_the_next_run_works(
    method: str, failure: str, tokens: Tensor, machine: SimulatedCuda
) -> None:
    network = tiny("llama").cuda()
    prunable = find_prunable_layers(network)
    before = snapshot(network)
    recipe = Recipe(method=method)
    card = machine.cards[0]
    held, began = card.allocated, card.allocations
    expected = prune(prunable, tokens, recipe, micro_batch=4)
    taken = card.allocations - began
    for place in (1, taken // 4, taken // 2, 3 * taken // 4, taken - 5):
        card.fail_at(max(1, place), FAILURES[failure])
        with pytest.raises(Refused, match=r"out of memory on cuda:0 while pruning: lower samples"):
            prune(prunable, tokens, recipe, micro_batch=4)
        card.fail_at(None)
        assert_untouched(network, before)
        assert card.allocated == held
    again = prune(prunable, tokens, recipe, micro_batch=4)
    for name, mask in expected.masks.items():
        assert (again.masks[name].bits == mask.bits).all()


@pytest.mark.parametrize("failure", FAILURES)
def test_out_of_memory_while_evaluating(failure: str, tokens: Tensor, machine: SimulatedCuda) -> None:
    network = tiny("llama").cuda()
    machine.cards[0].fail_at(20, FAILURES[failure])
    with pytest.raises(Refused, match="out of memory on cuda:0 while evaluating 24 tokens"):
        perplexity(network, tokens)


@pytest.mark.parametrize("failure", FAILURES)
def test_out_of_memory_while_loading(failure: str, llama_folder: Path, machine: SimulatedCuda) -> None:
    machine.cards[0].fail_at(3, FAILURES[failure])
    with pytest.raises(Refused, match="out of memory while loading"):
        load(str(llama_folder))
    assert load(str(llama_folder)).device.type == "cuda"


def test_memory_that_is_given_up_goes_back_to_the_device(tokens: Tensor, machine: SimulatedCuda) -> None:
    """After a failure another process, or another library, can have it."""
    prunable = find_prunable_layers(tiny("llama").cuda())
    card = machine.cards[0]
    big = torch.empty(MIB, device="cuda")
    card.fail_at(200)
    del big
    held = card.allocated
    with pytest.raises(Refused) as caught:
        prune(prunable, tokens, Recipe(), micro_batch=4)
    assert card.reserved - card.allocated < 2 * MIB
    assert card.allocated == held  # while the error, and what failed, is still known
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ..."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mmap failed: Cannot allocate memory (12)"), True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), False),
    ],
)
def test_what_is_out_of_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


@pytest.mark.parametrize("failure", FAILURES)
def test_latency_says_what_latency_can_do(
    failure: str, machine: SimulatedCuda, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.cards[0].fail_at(5, FAILURES[failure])
    assert main(["latency", "--shapes", "64x128", "--tokens", "4", "--device", "cuda"]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "out of memory" in error
    assert "--samples" not in error
    assert "--tokens" in error


WIDER = {
    "hidden_size": 128, "n_embd": 128, "intermediate_size": 352, "ffn_dim": 512, "n_inner": 512,
    "num_attention_heads": 8, "n_head": 8, "num_key_value_heads": 4, "head_dim": 16, "word_embed_proj_dim": 128,
    "moe_intermediate_size": 64, "max_position_embeddings": 128,
}  # fmt: skip
"""What makes tokens and activations weigh more than a tiny model's matrices."""


def wider(family: str) -> PreTrainedModel:
    config, arguments = (FAMILIES.get(family) or EXPERTS[family])[:2]
    return build(config, {name: WIDER.get(name, value) for name, value in arguments.items()})


def asked_and_taken(
    network: PreTrainedModel, samples: int, length: int, micro_batch: int, recipe: Recipe
) -> tuple[int, int]:
    prunable = find_prunable_layers(network)
    windows = torch.randint(3, 99, (samples, length), generator=torch.Generator().manual_seed(0))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    prune(prunable, windows, recipe, micro_batch=micro_batch)
    gram = METHODS[recipe.method].needs_gram
    asked = walk_bytes(prunable, samples, length, micro_batch, recipe.schedule, gram)
    # The libraries' own memory does not pass through what is counted here.
    return asked - LIBRARIES, torch.cuda.max_memory_allocated() - before


@pytest.mark.parametrize("family", [*FAMILIES, *EXPERTS])
def test_a_walk_takes_no_more_than_it_asks_for(family: str, machine: SimulatedCuda) -> None:
    """Each family under one schedule, each schedule with a third of the families."""
    place = [*FAMILIES, *EXPERTS].index(family)
    assert_no_more_is_taken(family, SCHEDULES[place % len(SCHEDULES)])


@pytest.mark.long
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("family", [*FAMILIES, *EXPERTS])
def test_a_walk_takes_no_more_than_it_asks_for_under_any_schedule(
    family: str, schedule: str, machine: SimulatedCuda
) -> None:
    assert_no_more_is_taken(family, schedule)


def assert_no_more_is_taken(family: str, schedule: str) -> None:
    network = wider(family).half().cuda()
    for samples, micro_batch in ((64, 2), (16, 16)):  # parked tokens weigh most, then running ones
        asked, taken = asked_and_taken(network, samples, 48, micro_batch, Recipe(schedule=schedule))
        assert taken <= asked, (samples, asked / taken)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_llama_takes_most_of_what_it_asks_for(schedule: str, method: str, machine: SimulatedCuda) -> None:
    """A model that would fit is not refused: a walk asks for at most 1.6 times what it takes."""
    network = wider("llama").half().cuda()
    for samples, micro_batch in ((64, 2), (32, 32)):
        recipe = Recipe(method=method, schedule=schedule)
        asked, taken = asked_and_taken(network, samples, 64, micro_batch, recipe)
        assert 1 <= asked / taken <= 1.6, (samples, asked / taken)
