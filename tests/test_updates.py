"""SparseGPT against its defining recursion, ADMM against least squares, and where changed values are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import oracle
from tests.conftest import tiny
from wanda_core import Recipe, Refused, find_prunable_layers
from wanda_core.method.admm import AdmmFactor, admm
from wanda_core.method.input_statistics import WIDE, InputStatistics
from wanda_core.method.masks import structured_mask, unstructured_mask
from wanda_core.method.pattern import Pattern
from wanda_core.method.sparsegpt import BLOCK, DAMPING, SparseGptFactor, sparsegpt
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.updated_weights import ChangedValues


def _layer(rows: int, columns: int, seed: int = 0, tokens: int = 400) -> tuple[Tensor, Tensor]:
    """A weight (out, in) and inputs (tokens, in) that are correlated and of different size."""
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(tokens, columns, generator=draw) @ torch.randn(columns, columns, generator=draw)
    return torch.randn(rows, columns, generator=draw), inputs * torch.rand(columns, generator=draw)


def _gram(inputs: Tensor) -> Tensor:
    statistics = InputStatistics(inputs.shape[1], inputs.device, len(inputs), gram=True)
    for part in inputs.split(150):
        statistics.add(part)
    return statistics.gram()


def _error(weight: Tensor, new: Tensor, inputs: Tensor) -> float:
    return float(((weight - new).double() @ inputs.double().t()).norm())


@pytest.mark.parametrize("columns", [24, WIDE, WIDE + 3])
def test_gram_matrix(columns: int) -> None:
    inputs = torch.randn(300, columns, generator=torch.Generator().manual_seed(0))
    expected = inputs.double().t() @ inputs.double()
    torch.testing.assert_close(_gram(inputs).double(), expected, rtol=1e-5, atol=1e-4)


def test_gram_matrix_of_half_inputs_is_summed_in_float32() -> None:
    inputs = (torch.randn(3000, 32, generator=torch.Generator().manual_seed(0)) * 30).half()
    expected = inputs.double().t() @ inputs.double()  # its diagonal is far above float16's 65504
    torch.testing.assert_close(_gram(inputs).double(), expected, rtol=1e-5, atol=1)


@pytest.mark.parametrize(
    ("rows", "columns", "pattern"),
    [
        (12, 40, "unstructured"),
        (5, 200, "unstructured"),
        (5, 300, "unstructured"),
        (1, 129, "unstructured"),
        (8, 160, "2:4"),
        (6, 48, "4:8"),
        (6, 264, "7:12"),  # 128 is no multiple of 12
    ],
)
def test_sparsegpt_is_the_published_algorithm(rows: int, columns: int, pattern: str) -> None:
    weight, inputs = _layer(rows, columns, tokens=3 * columns)
    block = BLOCK
    new, mask = sparsegpt(weight, SparseGptFactor.of(_gram(inputs)), 0.5, Pattern.parse(pattern))
    expected, kept = oracle.sparsegpt(weight.numpy(), inputs.numpy(), 0.5, pattern, block)
    assert np.array_equal(mask.numpy(), kept)
    assert np.linalg.norm(new.numpy() - expected) <= 1e-4 * np.linalg.norm(expected)
    assert (new[~mask] == 0).all()


def test_sparsegpt_with_dead_inputs() -> None:
    weight, inputs = _layer(8, 32)
    inputs *= 0.01  # so small that the 1 on a dead input's diagonal counts in the damping
    inputs[:, [3, 17]] = 0
    new, mask = sparsegpt(weight, SparseGptFactor.of(_gram(inputs)), 0.5, Pattern())
    expected, kept = oracle.sparsegpt(weight.numpy(), inputs.numpy(), 0.5, "unstructured")
    assert (new[:, [3, 17]] == 0).all()
    assert np.array_equal(mask.numpy(), kept)
    np.testing.assert_allclose(new.numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("seed", range(5))
def test_corrections_are_never_worse_than_the_mask_alone(seed: int, pattern: str) -> None:
    weight, inputs = _layer(32, 64, seed)
    new, mask = sparsegpt(weight, SparseGptFactor.of(_gram(inputs)), 0.5, Pattern.parse(pattern))
    assert _error(weight, new, inputs) < _error(weight, weight * mask, inputs)
    updated = admm(weight, AdmmFactor.of(_gram(inputs)), mask)
    assert _error(weight, updated, inputs) < _error(weight, weight * mask, inputs)


def test_sparsegpt_counts_are_exact() -> None:
    weight, inputs = _layer(7, 300)
    _, mask = sparsegpt(weight, SparseGptFactor.of(_gram(inputs)), 0.37, Pattern())
    for start in (0, 128, 256):
        part = mask[:, start : start + 128]
        assert (~part).sum() == int(part.numel() * 0.37)


def test_a_factorisation_that_fails_is_repeated_and_reported() -> None:
    _, inputs = _layer(1, 16)
    gram = _gram(inputs)
    first = SparseGptFactor.of(gram.clone())
    assert first.damping == DAMPING
    assert first.note == ""
    # Indefinite: what rounding can do to a matrix of rank one, only more of it.
    mean = gram.diagonal().mean()
    vector = torch.linalg.eigh(gram).eigenvectors[:, :1]
    again = SparseGptFactor.of(gram - (vector @ vector.t()) * 0.05 * mean)
    assert again.damping == pytest.approx(10 * DAMPING)
    assert again.note == "the factorisation failed at 1% damping and was repeated with 10%"
    with pytest.raises(Refused, match="cannot be factorised"):
        SparseGptFactor.of(gram - 1e6 * mean * (1 - torch.eye(16)))


def test_a_repeated_factorisation_is_in_the_report(monkeypatch: pytest.MonkeyPatch, tokens: Tensor) -> None:
    plain = InputStatistics.gram

    def broken(self: InputStatistics) -> Tensor:
        gram = plain(self)
        vector = torch.linalg.eigh(gram).eigenvectors[:, :1]
        return gram - (vector @ vector.t()) * 0.05 * gram.diagonal().mean()

    monkeypatch.setattr(InputStatistics, "gram", broken)
    pruning = prune(find_prunable_layers(tiny("llama")), tokens, Recipe(method="sparsegpt"))
    assert any("repeated with 10%" in report.note for report in pruning.reports)


def test_upper_factor_is_that_of_the_inverse() -> None:
    _, inputs = _layer(1, 20)
    gram = _gram(inputs)
    damped = gram.double() + 0.01 * gram.double().diagonal().mean() * torch.eye(20)
    upper = SparseGptFactor.of(gram).upper.double()
    assert torch.equal(upper, upper.triu())
    inverse = torch.linalg.inv(damped)
    assert (upper.t() @ upper - inverse).norm() < 1e-4 * inverse.norm()


@pytest.mark.parametrize("structured", [False, True])
def test_admm_comes_near_least_squares_on_the_kept_weights(structured: bool) -> None:
    weight, inputs = _layer(16, 48)
    scores = weight.abs() * inputs.norm(dim=0)
    mask = structured_mask(scores, 2, 4) if structured else unstructured_mask(scores, 0.5, "output")
    updated = admm(weight, AdmmFactor.of(_gram(inputs)), mask)
    assert (updated[~mask] == 0).all()
    best = torch.zeros_like(weight, dtype=torch.float64)
    for row in range(len(weight)):
        target = inputs.double() @ weight[row].double()
        best[row, mask[row]] = torch.linalg.lstsq(inputs[:, mask[row]].double(), target).solution
    alone, least = _error(weight, weight * mask, inputs), _error(weight, best, inputs)
    assert least <= _error(weight, updated, inputs) < least + 0.15 * (alone - least)


def test_admm_steps_are_the_papers() -> None:
    """The same steps with an explicit inverse, (in, out) as the paper writes them, in float64."""
    weight, inputs = _layer(6, 20)
    mask = unstructured_mask(weight.abs(), 0.5, "output")
    norms = inputs.double().norm(dim=0)
    scaled = inputs.double() / norms
    gram = scaled.t() @ scaled + 0.1 * torch.eye(20)
    target = (weight.double() * norms).t()
    kept = mask.t()
    solved, dual = target, torch.zeros_like(target)
    for _ in range(20):
        copied = kept * (solved + dual)
        dual = dual + solved - copied
        solved = torch.linalg.inv(gram + torch.eye(20)) @ (gram @ target + copied - dual)
    expected = (kept * (solved + dual)).t() / norms
    torch.testing.assert_close(
        admm(weight, AdmmFactor.of(_gram(inputs)), mask).double(), expected, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_past_the_cap_are_the_same_from_disk(dtype: torch.dtype) -> None:
    held = ChangedValues(cap=100 * dtype.itemsize)
    tensors = {str(n): torch.randn(60).to(dtype) for n in range(4)}
    for name, values in tensors.items():
        held.put(name, values)
    assert held.memory_bytes == 60 * dtype.itemsize
    assert held.disk_bytes == 180 * dtype.itemsize
    for name, values in tensors.items():
        assert torch.equal(held.get(name), values)


@pytest.mark.parametrize("method", ["sparsegpt", "wanda+admm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_changed_weights_are_what_the_model_computes_with(
    method: str, dtype: torch.dtype, tokens: Tensor
) -> None:
    network = tiny("llama").to(dtype)
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, tokens, Recipe(method=method))
    kept = sum(report.weights - report.pruned for report in pruning.reports)
    masks = sum(mask.bits.nbytes for mask in pruning.masks.values())
    norms = 4 * sum(layer.weight.shape[1] for layer in prunable.layers)
    assert pruning.nbytes == masks + norms + kept * dtype.itemsize
    layer = prunable.layers[3]
    weight, mask = pruning.weight(layer), pruning.masks[layer.name].unpack()
    assert weight.dtype == dtype
    assert not torch.equal(weight[mask], layer.weight[mask])
    assert (weight[~mask] == 0).all()
    with pruning.applied(prunable):
        assert torch.equal(layer.module.weight, weight)
    assert torch.equal(layer.module.weight, layer.stored)


def test_layers_that_read_the_same_input_share_its_gram_matrix(
    monkeypatch: pytest.MonkeyPatch, tokens: Tensor
) -> None:
    counted = []
    plain = InputStatistics.add
    monkeypatch.setattr(InputStatistics, "add", lambda self, rows: (counted.append(1), plain(self, rows))[1])
    prune(find_prunable_layers(tiny("llama")), tokens, Recipe(method="sparsegpt"), micro_batch=4)
    # Three blocks, two micro-batches: one input for q, k and v, one for o, one for gate and up, one for down.
    assert len(counted) == 3 * 2 * 4


@pytest.mark.parametrize("group", ["output", "input"])
def test_a_group_that_does_not_apply_is_refused(group: str) -> None:
    with pytest.raises(Refused, match=f"--group {group} does not apply to sparsegpt"):
        Recipe(method="sparsegpt", group=group)
    assert Recipe(method="sparsegpt").group == "layer"
