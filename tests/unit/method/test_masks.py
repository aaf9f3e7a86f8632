"""What holds for every mask, whatever the scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from torch import Tensor

from tests.support import oracle
from wanda_core.errors import Refused
from wanda_core.method.masks import keep_highest, structured_mask, unstructured_mask
from wanda_core.method.scores import SCORES

# Few values, so that many are equal.
SCORE_VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1e-30, 3e30])
PLAIN = st.floats(0, 1e6, width=32)
matrices = hn.arrays(
    np.float32, hn.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=SCORE_VALUES | PLAIN
).map(torch.from_numpy)
sparsities = st.floats(0, 1)
groups = st.sampled_from(["output", "layer", "input"])
no_deadline = settings(deadline=None)


@no_deadline
@given(scores=matrices, sparsity=sparsities, group=groups)
def test_exactly_the_floor_goes_from_every_group(scores: Tensor, sparsity: float, group: str) -> None:
    gone = ~unstructured_mask(scores, sparsity, group)
    counts, size = {
        "output": (gone.sum(dim=1), scores.shape[1]),
        "input": (gone.sum(dim=0), scores.shape[0]),
        "layer": (gone.sum().view(1), scores.numel()),
    }[group]
    assert (counts == math.floor(size * sparsity)).all()


@no_deadline
@given(scores=matrices, sparsity=sparsities, group=groups)
def test_unstructured_mask_is_that_of_a_stable_sort(scores: Tensor, sparsity: float, group: str) -> None:
    expected = oracle.mask(scores.numpy(), sparsity, "unstructured", group)
    assert np.array_equal(unstructured_mask(scores, sparsity, group).numpy(), expected)


@st.composite
def structured(draw: st.DrawFn) -> tuple[Tensor, int, int]:
    among = draw(st.integers(2, 20))
    shape = (draw(st.integers(1, 6)), among * draw(st.integers(1, 4)))
    scores = draw(hn.arrays(np.float32, shape, elements=SCORE_VALUES | PLAIN))
    return torch.from_numpy(scores), draw(st.integers(1, among - 1)), among


@no_deadline
@given(structured())
def test_structured_masks_keep_exactly_n_of_every_m(case: tuple[Tensor, int, int]) -> None:
    scores, keep, among = case
    mask = structured_mask(scores, keep, among)
    assert (mask.reshape(-1, among).sum(dim=1) == keep).all()
    assert np.array_equal(mask.numpy(), oracle.mask(scores.numpy(), 0, f"{keep}:{among}", None))


@no_deadline
@given(scores=matrices, one=sparsities, other=sparsities, group=groups)
def test_a_higher_sparsity_keeps_a_subset(scores: Tensor, one: float, other: float, group: str) -> None:
    more, less = (unstructured_mask(scores, s, group) for s in sorted((one, other)))
    assert not (less & ~more).any()


@no_deadline
@given(case=structured(), fewer=st.data())
def test_fewer_kept_of_m_are_a_subset(case: tuple[Tensor, int, int], fewer: st.DataObject) -> None:
    scores, keep, among = case
    less = structured_mask(scores, fewer.draw(st.integers(1, keep)), among)
    assert not (less & ~structured_mask(scores, keep, among)).any()


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
@no_deadline
@given(
    seed=st.integers(0, 1000),
    sparsity=sparsities,
    exponents=st.lists(st.integers(-8, 8), min_size=6, max_size=6),
)
def test_scaling_a_row_changes_nothing_among_its_weights(
    method: str, seed: int, sparsity: float, exponents: list[int]
) -> None:
    """By powers of two, which are exact. (RIA also looks at columns, which do change.)"""
    draw = torch.Generator().manual_seed(seed)
    weight, norms = torch.randn(6, 32, generator=draw), torch.rand(32, generator=draw)
    scaled = weight * 2.0 ** torch.tensor(exponents).unsqueeze(1)
    score = SCORES[method].function
    masks = [unstructured_mask(score(w, norms, draw), sparsity, "output") for w in (weight, scaled)]
    assert torch.equal(*masks)


def test_wide_rows_with_ties_are_cut_where_a_stable_sort_cuts_them() -> None:
    scores = torch.randint(0, 5, (64, 999), generator=torch.Generator().manual_seed(0)).float()
    mask = keep_highest(scores, 400)
    assert np.array_equal(mask.numpy(), oracle.mask(scores.numpy(), 400.5 / 999, "unstructured", "output"))


@pytest.mark.parametrize("group", ["row", "", None])
def test_an_unknown_group_is_refused_and_never_another_one(group: str | None) -> None:
    with pytest.raises(Refused, match="no comparison group"):
        unstructured_mask(torch.ones(2, 4), 0.5, group)
