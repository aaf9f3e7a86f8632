"""An order of a matrix's columns under which an N:M pattern keeps more of its score.

As in RIA's channel permutation (Zhang et al., ICLR 2024): the columns of highest score are dealt out over the groups
of M, so that they do not compete with one another; then one column is taken out of every group and put where it
raises the kept score most, again and again. Of a group whose other M - 1 columns stay, a row keeps its N - 1 highest
and the higher of the N-th and the column put in: so what every column would add to every group is a sum of maxima.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wanda_core.method.masks import structured_mask
from wanda_core.method.pattern import Pattern

ROUNDS = 8
"""How often a column is taken out of every group: eight more would add a twentieth of what these do."""

EXCHANGES = 12
"""How often pairs of groups are found that exchange the columns taken out; most gain at the first time."""

WORK = {"cpu": 2**31, "cuda": 2**36}
"""Sums of maxima in one round: of a matrix that would need more, rows at even distances are searched."""


def order_columns(scores: Tensor, pattern: Pattern, rounds: int = ROUNDS) -> Tensor:
    """
    Args:
        scores: (rows, columns), float32, no NaN, columns a multiple of the pattern's M.

    Returns:
        int64 (columns,): the column that comes to each place, on the scores' device. Columns of a group are in no
        particular order.
    """
    keep, among = pattern.keep, pattern.among
    groups = scores.shape[1] // among
    scores = scores[:: max(1, -(-len(scores) * groups**2 // WORK[scores.device.type]))]
    columns = scores.t().contiguous()  # (columns, rows): a column is read in one piece
    order = columns.sum(dim=1).argsort(descending=True, stable=True).view(among, groups)
    generator = torch.Generator().manual_seed(0)
    each = torch.arange(groups, device=scores.device)
    for _ in range(rounds if groups > 1 else 0):
        slot = torch.randint(among, (groups,), generator=generator).to(scores.device)
        # Turned until the column that is taken out of each group comes first.
        order = order[(torch.arange(among, device=scores.device)[:, None] + slot) % among, each]
        threshold = _nth_highest([columns[places] for places in order[1:]], keep)
        put = columns[order[0]]  # (groups, rows)
        # A sum of maxima is half of what both sum to and of the distance between them.
        value = (threshold.sum(dim=1)[:, None] + put.sum(dim=1) + torch.cdist(threshold, put, p=1)) / 2
        order[0] = order[0, _assign(value)]
    return order.t().flatten()


def kept_score(scores: Tensor, pattern: Pattern) -> float:
    """Sum of the scores (rows, columns) that the pattern keeps."""
    return float((scores * structured_mask(scores, pattern.keep, pattern.among)).sum(dtype=torch.float64))


def _nth_highest(parts: Sequence[Tensor], nth: int) -> Tensor:
    """The n-th highest of n or more tensors of one shape, element by element."""
    highest: list[Tensor] = []
    for part in parts:
        for place, value in enumerate(highest):
            highest[place], part = torch.maximum(value, part), torch.minimum(value, part)
        if len(highest) < nth:
            highest.append(part)
    return highest[-1]


def _assign(value: Tensor) -> Tensor:
    """For each group the column to put in, where `value` (groups, columns) is what each would give; int64 (groups,).

    Pairs of groups exchange their columns where both together gain: most of what the best assignment would, and never
    below every column in its old place.
    """
    chosen = torch.arange(len(value), device=value.device)
    each = chosen.clone()
    least = 1e-6 * value.diagonal().abs().mean()
    for _ in range(EXCHANGES):
        placed = value[:, chosen]
        own = placed.diagonal()
        gain = placed + placed.t() - own[:, None] - own
        most, partner = gain.max(dim=1)
        # Pairs that are each other's best choice exchange at once.
        pairs = (partner[partner] == each) & (most > least)
        chosen = torch.where(pairs, chosen[partner], chosen)
    return chosen
