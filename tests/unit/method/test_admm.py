"""ADMM on the kept weights, against the paper's steps and against least squares."""

from __future__ import annotations

import pytest
import torch

from tests.support.matrices import error, gram_of, layer
from wanda_core.method.admm import AdmmFactor, admm
from wanda_core.method.masks import structured_mask, unstructured_mask


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
