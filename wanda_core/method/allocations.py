"""How sparsity is distributed over layers, by name; what computes it knows the model and lies in `pruning`.

To add an allocation, write its function there and put a line into `ALLOCATIONS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wanda_core.errors import Refused


@dataclass(frozen=True)
class Allocation:
    """One way to distribute sparsity over layers."""

    function: str
    """Gives the sparsity of every layer from the model, the mean sparsity, what it needs to see, and its number, as
    `module:name`."""
    needs_norms: bool = False
    """It looks at the dense model's input norms: one more forward."""
    needs_scan: bool = False
    """It looks at the loss with each block pruned alone, see `pruning.block_scan`."""
    number: str = ""
    """Name of the number that follows it after a colon, as in `linear:0.01`; none where empty."""


ALLOCATIONS: dict[str, Allocation] = {
    "uniform": Allocation("wanda_core.pruning.allocation:uniform"),
    "owl": Allocation("wanda_core.pruning.allocation:owl", needs_norms=True),
    "linear": Allocation("wanda_core.pruning.allocation:linear", number="BETA"),
    "sensitivity": Allocation("wanda_core.pruning.allocation:sensitivity", needs_scan=True),
}


@dataclass(frozen=True)
class Named:
    """An allocation of `ALLOCATIONS`, with its number."""

    name: str
    number: float | None = None

    @property
    def allocation(self) -> Allocation:
        return ALLOCATIONS[self.name]

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name}:{self.number:.12g}"


def parse_allocation(text: str) -> Named | dict[str, float]:
    """A name of `ALLOCATIONS`, with `:NUMBER` where it takes one, or explicit ratios, `NAME=RATIO,...`: NAME is a
    block's number or a layer's full name, RATIO the share to prune.

    Returns:
        The allocation of that name, or sparsity by block or layer.

    Raises:
        Refused: neither.
    """
    names = [name + (f":{found.number}" if found.number else "") for name, found in ALLOCATIONS.items()]
    advice = (
        f"{{allocation}} must be {', '.join(names)}, or NAME=RATIO,... with block numbers or layer names, "
        "such as 0=0.3"
    )
    if not isinstance(text, str):
        raise Refused(advice)
    name, colon, number = text.strip().partition(":")
    if name in ALLOCATIONS:
        return _named(name, colon, number, advice)
    ratios: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            ratio = float(number)
        except ValueError:
            raise Refused(advice) from None
        if not name or not equals or not 0 <= ratio <= 1:
            raise Refused(advice)
        if name in ratios:
            raise Refused(f"{{allocation}} names {name[:80]} twice")
        ratios[name] = ratio
    return ratios


def _named(name: str, colon: str, number: str, advice: str) -> Named:
    wanted = ALLOCATIONS[name].number
    if not wanted:
        if colon:
            raise Refused(advice)
        return Named(name)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise Refused(f"{{allocation}} {name}:{wanted} needs {wanted}, a number above 0, such as {name}:0.01")
    return Named(name, value)


def most_beta(sparsity: float, blocks: int) -> float:
    """The largest BETA of `linear:BETA` that leaves every block's sparsity within 0 and 1 (arXiv 2502.14770):
    `min(2 S, 2 (1 - S)) / (L - 1)`."""
    return min(2 * sparsity, 2 * (1 - sparsity)) / max(1, blocks - 1)


def linear_ratios(sparsity: float, beta: float, blocks: int) -> list[float]:
    """Sparsity of every block under `linear:BETA` (ATP, arXiv 2502.14770): of L blocks block i, counted from 1, is
    pruned by `S - beta (L - 1) / 2 + beta (i - 1)`, S the mean. For a BETA up to `most_beta` all lie within 0 and 1."""
    first = sparsity - beta * (blocks - 1) / 2
    return [min(1.0, max(0.0, first + beta * block)) for block in range(blocks)]


def beta_range(sparsity: float, blocks: int) -> str:
    """What BETA may be, in words; its end is rounded down, so that it can be typed."""
    most = math.floor(1e5 * most_beta(sparsity, blocks) + 1e-7) / 1e5
    return f"above 0 and up to {most:g} for {blocks} blocks at {sparsity:.4g} sparsity"
