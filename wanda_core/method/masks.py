"""Scores + pattern + comparison group -> mask. True where the weight is kept.

Of a group of n weights exactly `floor(n * sparsity)` are pruned, those of lowest score; among equal scores the ones
that come first, as a stable ascending sort would take them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.pattern import Pattern

SMALL_GROUP = 16
"""Up to this many weights a group is ranked by comparing all pairs, faster than a selection per group."""


LARGE_GROUP = 2**16
"""From this many weights on a group on CUDA is searched by its bits, where the groups are fewer than `MANY_GROUPS`:
torch gives each group to a single one of the device's many processors."""
MANY_GROUPS = 64


def prune_count(size: int, sparsity: float) -> int:
    """How many of a group of `size` weights are pruned."""
    return math.floor(size * sparsity)


def choose(scores: Tensor, pattern: Pattern, sparsity: float, group: str | None) -> Tensor:
    """Mask under a pattern: where `unstructured`, `sparsity` of every comparison group is pruned.

    Args:
        scores: (out_features, in_features), float32, no NaN.
        sparsity: share to prune, 0 to 1; an N:M pattern has its own.
        group: as in `unstructured_mask`; an N:M pattern has its own.

    Returns:
        bool, (out_features, in_features).
    """
    if pattern.structured:
        return structured_mask(scores, pattern.keep, pattern.among)
    return unstructured_mask(scores, sparsity, group)


def check_divides(pattern: Pattern, name: str, columns: int) -> None:
    """Refuse an N:M pattern that cannot lie on the `columns` inputs of the layer `name`."""
    if pattern.structured and columns % pattern.among:
        raise Refused(
            f"{{pattern}} {pattern} does not divide the {columns} inputs of {name}: choose an M that does"
        )


def unstructured_mask(scores: Tensor, sparsity: float, group: str | None) -> Tensor:
    """Mask under a comparison group.

    Args:
        scores: (out_features, in_features), float32, no NaN.
        sparsity: share of every group to prune, 0 to 1.
        group: `output` (weights of a row compete), `layer` (all of them), `input` (weights of a column).

    Returns:
        bool, (out_features, in_features).
    """
    if group == "output":
        return keep_highest(scores, prune_count(scores.shape[1], sparsity))
    if group == "input":
        return _keep_highest_of_columns(scores, prune_count(scores.shape[0], sparsity))
    if group == "layer":
        return keep_highest(scores.reshape(1, -1), prune_count(scores.numel(), sparsity)).view(scores.shape)
    raise Refused(f"no comparison group `{group}`: choose output, layer or input")


def structured_mask(scores: Tensor, keep: int, among: int) -> Tensor:
    """N:M mask: of every `among` consecutive inputs of a row the `keep` highest are kept.

    Args:
        scores: (out_features, in_features), in_features a multiple of `among`, no NaN.

    Returns:
        bool, (out_features, in_features).
    """
    return keep_highest(scores.reshape(-1, among), among - keep).reshape(scores.shape)


def keep_highest(scores: Tensor, prune: int) -> Tensor:
    """Keep all but the `prune` lowest of every row; of equal scores the earlier ones are pruned.

    Args:
        scores: (groups, size), no NaN.
        prune: how many of each row are pruned, 0 to size.

    Returns:
        bool, (groups, size).
    """
    size = scores.shape[1]
    if prune == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    if prune == size:
        return torch.zeros_like(scores, dtype=torch.bool)
    if size <= SMALL_GROUP:
        return _rank_by_pairs(scores) >= prune
    threshold = _smallest(scores, prune)  # (groups, 1): the highest score that is pruned
    mask = scores > threshold
    # Rows where ties at the threshold take too many; few are tied, so that their places cost little.
    spare = size - prune - _count(mask, dim=1)  # (groups,): how many more are kept
    tied = spare.nonzero().flatten()
    if len(tied):
        row, place = (scores[tied] == threshold[tied]).nonzero(as_tuple=True)  # the later, the further behind
        ties = torch.bincount(row, minlength=len(tied))
        from_end = ties.cumsum(0)[row] - torch.arange(len(row), device=row.device)  # 1 for a row's last tie
        stays = from_end <= spare[tied][row]
        mask[tied[row[stays]], place[stays]] = True
    return mask


def _keep_highest_of_columns(scores: Tensor, prune: int) -> Tensor:
    """`keep_highest` of every column, where they lie: a large matrix is not turned round, but for columns with ties."""
    if prune in (0, len(scores)):
        return torch.full_like(scores, prune == 0, dtype=torch.bool)
    mask = scores > _smallest(scores, prune, dim=0)
    tied = (len(scores) - prune - _count(mask, dim=0)).nonzero().flatten()
    if len(tied):
        mask[:, tied] = keep_highest(scores[:, tied].t().contiguous(), prune).t()
    return mask


def _count(mask: Tensor, dim: int) -> Tensor:
    """How many are True along `dim`. NumPy adds bytes more than ten times as fast as torch counts them on a CPU."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.add.reduce(mask.numpy().view(np.uint8), axis=dim, dtype=np.int64))
    return mask.count_nonzero(dim=dim)


def _smallest(scores: Tensor, k: int, dim: int = 1) -> Tensor:
    """The k-th smallest along `dim`, which becomes 1. NumPy's selection is twice as fast as torch's on a CPU."""
    if scores.device.type == "cpu":
        kth = np.partition(scores.numpy(), k - 1, axis=dim).take([k - 1], axis=dim)
        return torch.from_numpy(kth)
    if dim == 1 and scores.shape[1] >= LARGE_GROUP and scores.shape[0] < MANY_GROUPS:
        return _smallest_by_bits(scores, k)
    return torch.kthvalue(scores, k, dim=dim, keepdim=True).values


def _smallest_by_bits(scores: Tensor, k: int) -> Tensor:
    """The k-th smallest of every row, (groups, 1): the range of a float's bits is halved 32 times, by counting the
    scores below its middle. Nothing but elementwise kernels and sums, so that all of a device works, none waits, and
    the result is exact."""
    keys = scores.contiguous().view(torch.int32).clone()
    keys ^= (keys >> 31) & 0x7FFFFFFF  # as whole numbers in the order of the floats
    low = torch.full((len(keys), 1), -(2**31), dtype=torch.int64, device=keys.device)
    high = torch.full_like(low, 2**31 - 1)
    for _ in range(32):
        middle = (low + high) >> 1
        reached = (keys <= middle.int()).sum(dim=1, keepdim=True) >= k
        high = torch.where(reached, middle, high)
        low = torch.where(reached, low, middle + 1)
    found = high.int()
    return (found ^ ((found >> 31) & 0x7FFFFFFF)).view(torch.float32)


def _rank_by_pairs(scores: Tensor) -> Tensor:
    """Place of every weight in a stable ascending sort of its row, uint8, (groups, size)."""
    size = scores.shape[1]
    # Each column is read `size` times; from about eight on turning the matrix first pays.
    columns = scores.unbind(1) if size < 8 else scores.t().contiguous()
    ranks = torch.zeros(size, scores.shape[0], dtype=torch.uint8, device=scores.device)
    for later in range(size):
        for earlier in range(later):
            earlier_first = columns[earlier] <= columns[later]
            ranks[later] += earlier_first
            ranks[earlier] += ~earlier_first
    return ranks.t()
