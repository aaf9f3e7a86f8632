"""The 2:4 formats and the product over them, against an independent product in float64."""

from __future__ import annotations

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


def assert_close_to_exact(outputs: Tensor, weight: Tensor, inputs: Tensor) -> None:
    """Within 1e-6 of sum |w||x|, element by element, of the product in float64 by NumPy."""
    exact = inputs.double().numpy() @ weight.double().numpy().T
    scale = inputs.double().abs().numpy() @ weight.double().abs().numpy().T
    error = np.abs(outputs.double().numpy() - exact)
    assert (error <= 1e-6 * scale).all(), (error / np.maximum(scale, 1e-300)).max()


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


TOKENS = [1, 2, 5, cpu.FEW, cpu.FEW + 1, 40]
ONE_OR_TWO_THREADS = [
    pytest.param(shape, tokens, threads, marks=() if threads == 1 + (i + j) % 2 else pytest.mark.long)
    for i, shape in enumerate(SHAPES)
    for j, tokens in enumerate(TOKENS)
    for threads in (1, 2)
]
"""Every shape with every number of tokens; the threads alternate, so that each of both meets one and two of them; the
other half is long."""


@pytest.mark.parametrize(("shape", "tokens", "threads"), ONE_OR_TWO_THREADS, indirect=["threads"])
def test_product(kind: Kind, shape: tuple[int, int], tokens: int, threads: int) -> None:
    weight, mask = pruned(*shape)
    inputs = torch.randn(tokens, shape[1], generator=torch.Generator().manual_seed(1))
    tiled = kind(weight, mask)
    assert_close_to_exact(tiled.linear(inputs), weight, inputs)
    assert tiled.transposed().equal(weight.t())


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
    """The parallel kernel from several threads, which numba's layer alone does not survive."""
    weight, mask = pruned(2048, 1024)
    tiled = kind(weight, mask)
    assert tiled.shape[0] * tiled.shape[1] >= cpu.PARALLEL_FROM
    inputs = [torch.randn(1, 1024, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    ready = threading.Barrier(4)

    def request(x: Tensor) -> list[Tensor]:
        ready.wait()
        return [tiled.linear(x) for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        for x, outputs in zip(inputs, pool.map(request, inputs), strict=True):
            assert all(output.equal(outputs[0]) for output in outputs)
            assert_close_to_exact(outputs[0], weight, x)
    assert cpu.threading_layer() == "workqueue"


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
def test_product_under_any_mask(sparsity: float, threads: int) -> None:
    """Rows that keep nothing, rows that keep all, and widths that nothing divides."""
    generator = torch.Generator().manual_seed(3)
    for shape in ((1, 1), (45, 131), (70, 517)):
        mask = torch.rand(shape, generator=generator) >= sparsity
        weight = torch.randn(shape, generator=generator) * mask
        inputs = torch.randn(2, shape[1], generator=generator)
        tiled = TiledMasked(Masked.pack(weight, mask))
        assert_close_to_exact(tiled.linear(inputs), weight, inputs)
        assert tiled.transposed().equal(weight.t())
