"""The simulated device: it refuses what CUDA refuses, counts what it should, and computes what the CPU computes."""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.conftest import DEVICE
from tests.support.models import tiny
from tests.support.simulated_card import SEGMENT
from tests.support.simulated_device import SimulatedCuda
from wanda_core import Recipe, take_apart
from wanda_core.method.methods import METHODS
from wanda_core.pruning.prune_model import prune

MIB = 2**20


@pytest.fixture
def machine() -> Iterator[SimulatedCuda]:
    with SimulatedCuda(memory=64 * MIB) as machine:
        yield machine


def on(device: str, *shape: int) -> Tensor:
    return torch.ones(*shape, device=device)


@pytest.mark.parametrize(
    "mixture",
    [
        lambda a: a + torch.ones(3, 4),
        lambda a: torch.ones(3, 4) + a,
        lambda a: a @ torch.ones(4, 2),
        lambda a: functional.linear(a, torch.ones(2, 4)),
        lambda a: a.masked_fill(torch.ones(3, 4, dtype=torch.bool), 0),
        lambda a: torch.ones(3, 4)[a > 0],
        lambda a: torch.cat([a, torch.ones(3, 4)]),
        lambda a: torch.equal(a, torch.ones(3, 4)),
        lambda a: functional.embedding(torch.zeros(2, dtype=torch.int64), a),
        lambda a: a + on("cuda:1", 3, 4),
        lambda a: torch.ones(3, 4).add_(a[0, 0]),
        lambda a: a.index_add_(0, torch.zeros(1, dtype=torch.int64), a[:1]),
        lambda a: nn.Linear(4, 2)(a),
        lambda a: torch.ones(3, 4).view(-1).copy_(a.view(-1)).add_(a.view(-1)),
    ],
)
def test_a_mixture_of_places_is_refused(machine: SimulatedCuda, mixture: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        mixture(on("cuda", 3, 4))


@pytest.mark.parametrize(
    "allowed",
    [
        lambda a: a + torch.tensor(2.0),
        lambda a: a * 2,
        lambda a: a[torch.tensor([0, 2])],
        lambda a: a.copy_(torch.zeros(3, 4)),
        lambda a: torch.where(a > 0, a, torch.tensor(0.0)),
        lambda a: a.new_zeros(2),
        lambda a: torch.zeros_like(a),
        lambda a: torch.arange(3, device=a.device),
        lambda a: torch.as_tensor(np.ones(2), device=a.device),
        lambda a: torch.stack(list(a)),
        lambda a: a.t().contiguous().view(-1),
        lambda a: a.to(torch.float16),
        lambda a: torch.ones(2).to(a),
        lambda a: functional.scaled_dot_product_attention(*[a.view(1, 1, 3, 4)] * 3, is_causal=True),
    ],
)
def test_what_cuda_allows_stays_on_the_device(
    machine: SimulatedCuda, allowed: Callable[[Tensor], Tensor]
) -> None:
    result = allowed(on("cuda:1", 3, 4))
    assert result.is_cuda
    assert result.device == torch.device("cuda", 1)
    assert result.cpu().device.type == "cpu"


@pytest.mark.parametrize("to_numpy", [lambda a: a.numpy(), np.asarray, lambda a: a[1:].t().numpy()])
def test_numpy_is_refused(machine: SimulatedCuda, to_numpy: Callable[[Tensor], np.ndarray]) -> None:
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
        to_numpy(on("cuda", 3))
    assert to_numpy(on("cuda", 3).cpu()).sum() > 0


def test_a_generator_of_the_cpu_is_refused(machine: SimulatedCuda) -> None:
    generator = torch.Generator()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device="cuda", generator=generator)
    with pytest.raises(RuntimeError, match="generator"):
        on("cuda", 3).uniform_(generator=generator)
    assert torch.rand(3, generator=generator).cuda().is_cuda


def test_going_there_and_back_copies(machine: SimulatedCuda) -> None:
    here = torch.ones(3)
    for there in (here.to("cuda"), here.cuda(), here.to(device="cuda:0"), here.to(on("cuda", 1))):
        there.zero_()
        assert here.sum() == 3
        back = there.cpu()
        back.fill_(5)
        assert there.sum() == 0
    assert here.cpu() is here
    there = here.cuda()
    assert there.to("cuda") is there
    assert there.to("cuda:1").device.index == 1
    array = np.ones(3)
    torch.as_tensor(array, device="cuda").zero_()
    assert array.sum() == 3


def test_views_and_data_and_copies_of_modules_keep_their_place(machine: SimulatedCuda) -> None:
    linear = nn.Linear(4, 4).cuda()
    weight = linear.weight.data
    assert weight[1:].t().is_cuda
    linear.weight.data = torch.zeros(4, 4)
    assert not linear.weight.is_cuda
    linear.weight.data = weight
    assert linear.weight.is_cuda
    assert linear.weight.data_ptr() == weight.data_ptr()
    assert copy.deepcopy(linear).weight.is_cuda
    assert copy.deepcopy(weight).is_cuda


def test_threads_are_on_the_machine_too(machine: SimulatedCuda) -> None:
    with ThreadPoolExecutor(1) as pool:
        tensor = pool.submit(lambda: on("cuda", 2)).result()
        assert tensor.is_cuda
        with pytest.raises(TypeError):
            pool.submit(tensor.numpy).result()

    class Own(threading.Thread):
        def run(self) -> None:
            self.found = torch.cuda.is_available() and on("cuda:1", 2).is_cuda

    thread = Own()
    thread.start()
    thread.join()
    assert thread.found


@pytest.mark.skipif(bool(DEVICE), reason="the machine that all tests run on takes over again")
def test_nothing_is_left_behind() -> None:
    before = torch.cuda.is_available, torch.Generator, threading.Thread.start, torch.version.cuda
    with SimulatedCuda():
        tensor = on("cuda", 2)
    assert (torch.cuda.is_available, torch.Generator, threading.Thread.start, torch.version.cuda) == before
    assert not tensor.is_cuda


def test_the_allocator_keeps_what_it_was_given(machine: SimulatedCuda) -> None:
    assert torch.cuda.mem_get_info() == (64 * MIB, 64 * MIB)
    tensor = on("cuda", 8, MIB // 4)  # 8 MiB
    view = tensor[1:]
    assert torch.cuda.memory_allocated() == 8 * MIB
    del tensor
    gc.collect()
    assert torch.cuda.memory_allocated() == 8 * MIB  # the view holds it
    del view
    gc.collect()
    assert torch.cuda.memory_allocated() == 0
    assert torch.cuda.memory_reserved() == 8 * MIB
    assert torch.cuda.mem_get_info()[0] == 56 * MIB
    again = on("cuda", 100)
    assert torch.cuda.memory_allocated() == 512
    assert torch.cuda.memory_reserved() == 8 * MIB
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == SEGMENT
    assert torch.cuda.max_memory_allocated() == 8 * MIB
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 512
    assert torch.cuda.memory_allocated(1) == 0
    assert again.is_cuda


def test_a_full_card_is_out_of_memory(machine: SimulatedCuda) -> None:
    machine.cards[0].others = 32 * MIB
    with pytest.raises(torch.OutOfMemoryError, match=r"40\.00 MiB"):
        torch.empty(40, MIB // 4, device="cuda")
    assert torch.empty(30, MIB // 4, device="cuda").is_cuda
    assert torch.empty(40, MIB // 4, device="cuda:1").is_cuda


def test_memory_runs_out_where_it_is_told_to(machine: SimulatedCuda) -> None:
    tensor = on("cuda", 4)
    machine.cards[0].fail_at(3)
    first = tensor + 1
    second = first + 1
    with pytest.raises(torch.OutOfMemoryError):
        second + 1
    assert (second + 1).is_cuda
    machine.cards[0].fail_at(1, lambda size: torch.AcceleratorError("CUDA error: out of memory"))
    with pytest.raises(torch.AcceleratorError):
        tensor.clone()


def test_where_the_host_waits(machine: SimulatedCuda) -> None:
    tensor = on("cuda", 4)
    machine.waits.clear()
    _ = tensor * 2 + tensor.sum()  # no wait
    assert not machine.waits
    waits = [
        (lambda: tensor.sum().item(), "scalar"),
        (lambda: bool(tensor[0]), "scalar"),
        (lambda: torch.equal(tensor, tensor), "scalar"),
        (lambda: tensor[tensor > 0], "size"),
        (lambda: tensor.nonzero(), "size"),
        (lambda: tensor.cpu(), "copy"),
        (lambda: tensor.tolist(), "copy"),
        (lambda: torch.cuda.synchronize(), "explicit"),
    ]
    for wait, kind in waits:
        machine.waits.clear()
        wait()
        ((line, found), count) = machine.waits.popitem()
        assert (found, count) == (kind, 1)
        assert line.startswith("tests/unit/support/test_simulated_device.py:")


def test_what_crosses_is_counted_in_bytes(machine: SimulatedCuda) -> None:
    torch.ones(100, dtype=torch.bool).cuda()[:50].cpu()
    on("cuda", 4).to("cuda:1")
    by_way = {way: size for (_, way), size in machine.crossed.items()}
    assert by_way == {"to device": 100, "to host": 50, "between devices": 16}


def test_random_numbers_are_the_devices_own(machine: SimulatedCuda) -> None:
    torch.manual_seed(3)
    here = torch.rand(4)
    torch.manual_seed(3)
    there = torch.rand(4, device="cuda")
    assert there.cpu().equal(here)
    state = torch.cuda.get_rng_state("cuda")
    drawn = torch.rand(4, device="cuda").cpu()
    torch.rand(4)
    torch.cuda.set_rng_state(state, "cuda")
    assert torch.rand(4, device="cuda").cpu().equal(drawn)


def test_events_read_the_clock_of_their_device(machine: SimulatedCuda) -> None:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record(torch.cuda.current_stream("cuda:1"))
    tensor = on("cuda:1", 4)
    _ = tensor + 1
    end.record(torch.cuda.current_stream("cuda:1"))
    assert start.elapsed_time(end) >= 2
    end.record()
    with pytest.raises(RuntimeError, match="one device"):
        start.elapsed_time(end)


def test_a_graph_is_replayed(machine: SimulatedCuda) -> None:
    inputs, graph = on("cuda", 3), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = inputs * 2 + 1
    inputs.copy_(torch.tensor([1.0, 2.0, 3.0]))
    graph.replay()
    assert output.tolist() == [3, 5, 7]
    with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(graph):
        output.sum().item()


@pytest.mark.parametrize(
    ("backend", "capability", "runs"),
    [
        ("CUTLASS", (8, 0), True),
        ("CUTLASS", (9, 0), False),
        ("CUTLASS", (12, 0), False),
        ("CUSPARSELT", (8, 0), True),
        ("CUSPARSELT", (9, 0), True),
        ("CUSPARSELT", (7, 5), False),
    ],
)
def test_two_four_products(backend: str, capability: tuple[int, int], runs: bool) -> None:
    weight = torch.randn(64, 128).half() * torch.tensor([1.0, 0.0, 0.0, 1.0]).half().repeat(32)
    inputs = torch.randn(8, 128).half()
    kind = getattr(torch.sparse, f"SparseSemiStructuredTensor{backend}")

    def product(bias: Tensor | None) -> Tensor:
        there = kind.from_dense(weight.cuda())
        assert there.device == torch.device("cuda", 0)
        return functional.linear(inputs.cuda(), there, bias)

    with SimulatedCuda(capability):
        if not runs:
            with pytest.raises(RuntimeError, match=r"8\.x|cuSPARSELt"):
                product(None)
            return
        close = {"rtol": 1e-2, "atol": 1e-2}
        torch.testing.assert_close(product(None).cpu(), functional.linear(inputs, weight), **close)
        bias = torch.randn(64).half()
        torch.testing.assert_close(
            product(bias.cuda()).cpu(), functional.linear(inputs, weight, bias), **close
        )
        assert kind.from_dense(weight.cuda()).to_dense().cpu().equal(weight)


@pytest.mark.parametrize("method", METHODS)
def test_results_are_the_cpus_to_the_bit(method: str, tokens: Tensor) -> None:
    """The engine's, whose masks turn at the last bit of a sum."""
    recipe = Recipe(method=method)
    expected = prune(take_apart(tiny("llama")), tokens, recipe, micro_batch=2)
    with SimulatedCuda():
        anatomy = take_apart(tiny("llama").cuda())
        found = prune(anatomy, tokens, recipe, micro_batch=2)
        for layer in anatomy.layers:
            assert layer.stored.is_cuda
            assert found.weight(layer).is_cuda
        weights = {layer.name: found.weight(layer).cpu() for layer in anatomy.layers}
    assert found.masks.keys() == expected.masks.keys()
    for layer in take_apart(tiny("llama")).layers:
        assert (found.masks[layer.name].bits == expected.masks[layer.name].bits).all()
        assert weights[layer.name].equal(expected.weight(layer))
    assert [report.error for report in found.reports] == [report.error for report in expected.reports]
