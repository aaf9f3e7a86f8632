"""Products with packed weights, against an independent product in float64."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.kernels import pruned
from wanda_core.speed.kernels import cpu
from wanda_core.speed.kernels.cpu import Tiled, TiledDense, TiledMasked, TiledTwoFour
from wanda_core.speed.kernels.formats import Masked, TwoFour

Kind = Callable[[Tensor, Tensor], Tiled]


SHAPES = [(32, 4), (1, 8), (33, 12), (31, 576), (192, 576), (100, 1540), (576, 1536), (2050, 1024)]


TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 1e-2}


def assert_close_to_exact(outputs: Tensor, weight: Tensor, inputs: Tensor) -> None:
    """Within 1e-6 of sum |w||x|, in bfloat16 1e-2, element by element, of the product in float64 by NumPy."""
    assert outputs.dtype == weight.dtype
    exact = inputs.double().numpy() @ weight.double().numpy().T
    scale = inputs.double().abs().numpy() @ weight.double().abs().numpy().T
    error = np.abs(outputs.double().numpy() - exact)
    assert (error <= TOLERANCE[weight.dtype] * scale).all(), (error / np.maximum(scale, 1e-300)).max()


KINDS: dict[str, Kind] = {
    "dense": lambda weight, _: TiledDense(weight),
    "2:4": lambda weight, mask: TiledTwoFour(TwoFour.pack(weight, mask)),
    "bitmask": lambda weight, mask: TiledMasked(Masked.pack(weight, mask)),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """A way to lay a weight out."""
    return KINDS[request.param]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


TOKENS = [0, 1, 2, 7, 16, 17, 40, 70]
"""Few, and panels of two, three and four vectors of sixteen, none of them full, the last with some left."""
ONE_OR_TWO_THREADS = [
    pytest.param(shape, tokens, threads, marks=() if threads == 1 + (i + j) % 2 else pytest.mark.long)
    for i, shape in enumerate(SHAPES)
    for j, tokens in enumerate(TOKENS)
    for threads in (1, 2)
]
"""Every shape with every number of tokens; the threads alternate, so that each of both meets one and two of them; the
other half is long."""


@pytest.fixture
def always_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_FROM", 1)


@pytest.mark.usefixtures("always_in_parts")
@pytest.mark.parametrize(("shape", "tokens", "threads"), ONE_OR_TWO_THREADS, indirect=["threads"])
def test_product(kind: Kind, shape: tuple[int, int], tokens: int, threads: int) -> None:
    weight, mask = pruned(*shape)
    inputs = torch.randn(tokens, shape[1], generator=torch.Generator().manual_seed(1))
    for dtype in (torch.float32, torch.bfloat16):
        tiled = kind(weight.to(dtype), mask)
        assert_close_to_exact(tiled.linear(inputs.to(dtype)), weight.to(dtype), inputs.to(dtype))
        assert tiled.unpacked().equal(weight.to(dtype))


@pytest.mark.usefixtures("always_in_parts")
@pytest.mark.parametrize("tokens", [1, 70])
def test_product_by_more_threads_than_cores(kind: Kind, tokens: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        test_product(kind, (150, 576), tokens, 4)
    finally:
        torch.set_num_threads(before)


def test_more_inputs_than_a_cache_holds() -> None:
    weight, mask = pruned(32, 11008)
    inputs = torch.randn(70, 11008, generator=torch.Generator().manual_seed(1))
    for dtype in (torch.float32, torch.bfloat16):
        tiled = KINDS["2:4"](weight.to(dtype), mask)
        assert_close_to_exact(tiled.linear(inputs.to(dtype)), weight.to(dtype), inputs.to(dtype))


def test_bytes_of_a_weight() -> None:
    weight, mask = pruned(64, 576)
    for dtype, two_four, bitmask in ((torch.float32, 2.125, 2.125), (torch.bfloat16, 1.125, 1.125)):
        assert KINDS["2:4"](weight.to(dtype), mask).nbytes == two_four * weight.numel()
        assert KINDS["bitmask"](weight.to(dtype), mask).nbytes == pytest.approx(
            bitmask * weight.numel(), rel=0.005
        )


@pytest.mark.parametrize("tokens", [1, 8, 20])
def test_what_is_not_finite_comes_through(tokens: int) -> None:
    """Of weights and of inputs that a row keeps; in a row that does not keep them nothing is seen of them."""
    weight = torch.tensor([[1.0, 2, 0, 0], [0, 0, 3, 4], [0, float("inf"), 1, 0]] * 12)
    inputs = torch.ones(tokens, 4)
    inputs[0, 1], inputs[-1, 0] = float("inf"), float("nan")
    for dtype in (torch.float32, torch.bfloat16):
        outputs = KINDS["2:4"](weight.to(dtype), weight != 0).linear(inputs.to(dtype))
        assert outputs[-1, 0].isnan()
        assert outputs[0, 0].isinf() or tokens == 1
        assert (outputs[:, 1] == 7).all()
        assert (outputs[:, 2] == float("inf")).all()


def test_product_of_what_only_adds_up(kind: Kind, threads: int) -> None:
    """No two terms cancel, so that rounding errors are as large as they get."""
    weight, mask = pruned(64, 11008, positive=True)
    inputs = torch.rand(1, 11008)
    assert_close_to_exact(kind(weight, mask).linear(inputs), weight, inputs)


def test_product_of_inputs_that_are_views(kind: Kind, threads: int) -> None:
    weight, mask = pruned(96, 64)
    tiled = kind(weight, mask)
    for inputs in (torch.randn(64, 3).t(), torch.randn(3, 128)[:, ::2], torch.randn(1, 64).expand(3, 64)):
        assert_close_to_exact(tiled.linear(inputs), weight, inputs)
    batch = torch.randn(2, 3, 64)
    assert tiled.linear(batch).shape == (2, 3, 96)
    assert_close_to_exact(tiled.linear(batch).view(6, 96), weight, batch.view(6, 64))


def test_two_requests_at_once(kind: Kind) -> None:
    """Of few tokens and of many: what one thread works in is no other's."""
    weight, mask = pruned(2048, 1024)
    tiled = kind(weight, mask)
    assert tiled.shape[0] * tiled.shape[1] >= cpu.PARALLEL_FROM
    inputs = [
        torch.randn(tokens, 1024, generator=torch.Generator().manual_seed(tokens))
        for tokens in (1, 9, 17, 50)
    ]
    ready = threading.Barrier(4)

    def request(x: Tensor) -> list[Tensor]:
        ready.wait()
        return [tiled.linear(x) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for x, outputs in zip(inputs, pool.map(request, inputs), strict=True):
            assert all(output.equal(outputs[0]) for output in outputs)
            assert_close_to_exact(outputs[0], weight, x)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
def test_product_under_any_mask(sparsity: float, threads: int) -> None:
    """Rows that keep nothing, rows that keep all, and widths that nothing divides."""
    generator = torch.Generator().manual_seed(3)
    for shape in ((1, 1), (45, 131), (70, 517)):
        mask = torch.rand(shape, generator=generator) >= sparsity
        for dtype in (torch.float32, torch.bfloat16):
            weight = torch.randn(shape, generator=generator).to(dtype) * mask
            inputs = torch.randn(11, shape[1], generator=generator).to(dtype)
            tiled = TiledMasked(Masked.pack(weight, mask))
            assert_close_to_exact(tiled.linear(inputs), weight, inputs)
            assert tiled.unpacked().equal(weight)


def test_without_numbas_compiler() -> None:
    """By torch, of the unpacked weight, and it says so."""
    script = """
import torch
from tests.support.kernels import pruned
from wanda_core.speed.kernels.cpu import TiledMasked, TiledTwoFour
from wanda_core.speed.kernels.formats import Masked, TwoFour
weight, mask = pruned(40, 12)
inputs = torch.randn(3, 12)
for tiled in (TiledTwoFour(TwoFour.pack(weight, mask)), TiledMasked(Masked.pack(weight, mask))):
    torch.testing.assert_close(tiled.linear(inputs), inputs @ weight.T)
    print(tiled.kernel)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = "unpacked, as numba is disabled"
    assert run.stdout.splitlines() == [f"2:4 {said}", f"bitmask {said}"]


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_what_others_make_the_default_dtype_does_no_harm(kind: Kind, default: torch.dtype) -> None:
    """Transformers sets it for the whole process while a model is loaded."""
    weight, mask = pruned(96, 64)
    inputs = torch.randn(20, 64)
    tiled = kind(weight, mask)
    with ThreadPoolExecutor(1) as thread:  # with no scratch yet
        torch.set_default_dtype(default)
        try:
            outputs = thread.submit(tiled.linear, inputs).result()
        finally:
            torch.set_default_dtype(torch.float32)
        assert_close_to_exact(outputs, weight, inputs)
        assert thread.submit(tiled.linear, inputs).result().equal(outputs)
