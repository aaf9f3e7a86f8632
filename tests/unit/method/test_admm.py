"""ADMM on the kept weights, against the paper's steps and against least squares."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.matrices import error, gram_of, layer
from wanda_core.method.admm import AdmmFactor, admm, gradual_admm
from wanda_core.method.masks import choose, structured_mask, unstructured_mask
from wanda_core.method.pattern import Pattern


@pytest.mark.parametrize("structured", [False, True])
def test_admm_comes_near_least_squares_on_the_kept_weights(structured: bool) -> None:
    weight, inputs = layer(16, 48)
    scores = weight.abs() * inputs.norm(dim=0)
    mask = structured_mask(scores, 2, 4) if structured else unstructured_mask(scores, 0.5, "output")
    updated = admm(weight, AdmmFactor.of(gram_of(inputs)), mask)
    assert (updated[~mask] == 0).all()
    best = torch.zeros_like(weight, dtype=torch.float64)
    for row in range(len(weight)):
        target = inputs.double() @ weight[row].double()
        best[row, mask[row]] = torch.linalg.lstsq(inputs[:, mask[row]].double(), target).solution
    alone, least = error(weight, weight * mask, inputs), error(weight, best, inputs)
    assert least <= error(weight, updated, inputs) < least + 0.15 * (alone - least)


def test_admm_steps_are_the_papers() -> None:
    """The same steps with an explicit inverse, (in, out) as the paper writes them, in float64."""
    weight, inputs = layer(6, 20)
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
        admm(weight, AdmmFactor.of(gram_of(inputs)), mask).double(), expected, rtol=1e-3, atol=1e-4
    )


def _ill_conditioned(rows: int, columns: int, seed: int) -> tuple[Tensor, Tensor]:
    """A weight and inputs whose spectrum falls by four orders of magnitude."""
    weight, inputs = layer(rows, columns, seed)
    left, _, right = torch.linalg.svd(inputs, full_matrices=False)
    return weight, left * torch.logspace(2, -2, columns) @ right


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "4:8"])
@pytest.mark.parametrize("make", [layer, _ill_conditioned])
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_chosen_while_correcting_leaves_less_error(
    make: Callable[[int, int, int], tuple[Tensor, Tensor]], pattern: str, seed: int
) -> None:
    weight, inputs = make(32, 96, seed)
    parsed, factor = Pattern.parse(pattern), AdmmFactor.of(gram_of(inputs))
    for sparsity in [0.3, 0.5, 0.7] if pattern == "unstructured" else [0.5]:
        given = choose(weight.abs() * inputs.norm(dim=0), parsed, sparsity, "output")
        updated, mask = gradual_admm(weight, factor, sparsity, parsed)
        fixed = admm(weight, factor, given)
        assert error(weight, updated, inputs) <= error(weight, fixed, inputs)
        for row in range(32):  # and no row of the layer, but for rounding
            assert error(weight[row], updated[row], inputs) <= 1.0001 * error(weight[row], fixed[row], inputs)
        assert (updated[~mask] == 0).all()
        assert ((~mask).sum(dim=1) == int(96 * sparsity)).all()
        if parsed.structured:
            assert (mask.view(32, -1, parsed.among).sum(dim=2) == parsed.keep).all()


@pytest.mark.parametrize("make", [layer, _ill_conditioned])
def test_the_tail_comes_to_the_damped_least_squares_in_float64(
    make: Callable[[int, int, int], tuple[Tensor, Tensor]],
) -> None:
    """Normal equations of every row, exact, with the damping on the diagonal of the scaled inputs."""
    weight, inputs = make(16, 48, 0)
    updated, mask = gradual_admm(weight, AdmmFactor.of(gram_of(inputs)), 0.5, Pattern())
    norms = inputs.double().norm(dim=0)
    scaled = inputs.double() / norms
    gram = scaled.t() @ scaled + 0.1 * torch.eye(48, dtype=torch.float64)
    for row, kept in enumerate(mask):
        target = gram[kept] @ (weight[row].double() * norms)
        best = torch.linalg.solve(gram[kept][:, kept], target)
        found = updated[row, kept].double() * norms[kept]
        assert float((gram[kept][:, kept] @ found - target).norm()) <= 0.011 * float(target.norm())
        assert float((found - best).norm()) <= 0.05 * float(best.norm())


def test_weights_of_inputs_that_are_always_zero_are_pruned_first() -> None:
    weight, inputs = layer(8, 32)
    inputs[:, :5] = 0
    updated, mask = gradual_admm(weight * 100, AdmmFactor.of(gram_of(inputs)), 0.5, Pattern())
    assert not mask[:, :5].any()
    assert torch.isfinite(updated).all()
