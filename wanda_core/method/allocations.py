"""How sparsity is distributed over layers, by name; what computes it knows the model and lies in `pruning.allocation`.

To add an allocation, write its function there and put a line into `ALLOCATIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from wanda_core.errors import Refused


@dataclass(frozen=True)
class Allocation:
    """One way to distribute sparsity over layers."""

    function: str
    """Gives the sparsity of every layer from the model, the mean sparsity and the norms, as `module:name`."""
    needs_norms: bool = False
    """It looks at the dense model's input norms: one more forward."""


ALLOCATIONS: dict[str, Allocation] = {
    "uniform": Allocation("wanda_core.pruning.allocation:uniform"),
    "owl": Allocation("wanda_core.pruning.allocation:owl", needs_norms=True),
}


def parse_allocation(text: str) -> dict[str, float]:
    """Explicit ratios, `NAME=RATIO,...`: NAME is a block's number or a layer's full name, RATIO the share to prune.

    Returns:
        Sparsity by name; empty for a name in `ALLOCATIONS`.

    Raises:
        Refused: neither one of those names nor such a list.
    """
    if isinstance(text, str) and text in ALLOCATIONS:
        return {}
    advice = (
        f"{{allocation}} must be {', '.join(ALLOCATIONS)}, or NAME=RATIO,... with block numbers or layer names, "
        "such as 0=0.3"
    )
    if not isinstance(text, str):
        raise Refused(advice)
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
