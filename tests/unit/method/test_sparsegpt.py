"""SparseGPT against the published algorithm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support import oracle
from tests.support.matrices import error, gram_of, layer
from wanda_core import Refused
from wanda_core.method.admm import AdmmFactor, admm
from wanda_core.method.pattern import Pattern
from wanda_core.method.sparsegpt import BLOCK, DAMPING, SparseGptFactor, sparsegpt


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
    weight, inputs = layer(rows, columns, tokens=3 * columns)
    block = BLOCK
    new, mask = sparsegpt(weight, SparseGptFactor.of(gram_of(inputs)), 0.5, Pattern.parse(pattern))
    expected, kept = oracle.sparsegpt(weight.numpy(), inputs.numpy(), 0.5, pattern, block)
    assert np.array_equal(mask.numpy(), kept)
    assert np.linalg.norm(new.numpy() - expected) <= 1e-4 * np.linalg.norm(expected)
    assert (new[~mask] == 0).all()


def test_sparsegpt_with_dead_inputs() -> None:
    weight, inputs = layer(8, 32)
    inputs *= 0.01  # so small that the 1 on a dead input's diagonal counts in the damping
    inputs[:, [3, 17]] = 0
    new, mask = sparsegpt(weight, SparseGptFactor.of(gram_of(inputs)), 0.5, Pattern())
    expected, kept = oracle.sparsegpt(weight.numpy(), inputs.numpy(), 0.5, "unstructured")
    assert (new[:, [3, 17]] == 0).all()
    assert np.array_equal(mask.numpy(), kept)
    np.testing.assert_allclose(new.numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("seed", range(5))
def test_corrections_are_never_worse_than_the_mask_alone(seed: int, pattern: str) -> None:
    weight, inputs = layer(32, 64, seed)
    new, mask = sparsegpt(weight, SparseGptFactor.of(gram_of(inputs)), 0.5, Pattern.parse(pattern))
    assert error(weight, new, inputs) < error(weight, weight * mask, inputs)
    updated = admm(weight, AdmmFactor.of(gram_of(inputs)), mask)
    assert error(weight, updated, inputs) < error(weight, weight * mask, inputs)


def test_sparsegpt_counts_are_exact() -> None:
    weight, inputs = layer(7, 300)
    _, mask = sparsegpt(weight, SparseGptFactor.of(gram_of(inputs)), 0.37, Pattern())
    for start in (0, 128, 256):
        part = mask[:, start : start + 128]
        assert (~part).sum() == int(part.numel() * 0.37)


def test_a_factorisation_that_fails_is_repeated_and_reported() -> None:
    _, inputs = layer(1, 16)
    gram = gram_of(inputs)
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


def test_upper_factor_is_that_of_the_inverse() -> None:
    _, inputs = layer(1, 20)
    gram = gram_of(inputs)
    damped = gram.double() + 0.01 * gram.double().diagonal().mean() * torch.eye(20)
    upper = SparseGptFactor.of(gram).upper.double()
    assert torch.equal(upper, upper.triu())
    inverse = torch.linalg.inv(damped)
    assert (upper.t() @ upper - inverse).norm() < 1e-4 * inverse.norm()
