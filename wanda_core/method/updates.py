"""What happens to the kept weights: nothing, or a correction that keeps the layer's output closest to the dense one.

To add an update, write a module with a `Factor` and put a line into `UPDATES`: methods, the page, the command line and
the tests take it from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wanda_core.errors import Refused
from wanda_core.lazy import target

if TYPE_CHECKING:  # the command line's --help lists the methods and should not wait for torch
    from torch import Tensor

    from wanda_core.method.pattern import Pattern

NONE = "none"
"""Kept weights stay as they are."""


class Factor(Protocol):
    """What an update needs of the Gram matrix `G = X^T X` of a layer's input, computed once for all layers that read
    the same input. Updates minimise `||X (W - W')^T||`."""

    @property
    def note(self) -> str:
        """What the report of a layer must say; empty where all went as published."""

    @classmethod
    def of(cls, gram: Tensor) -> Factor:
        """From a Gram matrix, float32 (in_features, in_features); it may be written to.

        Raises:
            Refused: it cannot be factorised.
        """

    def update(
        self, weight: Tensor, mask: Tensor | None, sparsity: float, pattern: Pattern
    ) -> tuple[Tensor, Tensor]:
        """Correct one layer.

        Args:
            weight: (out_features, in_features), any float dtype.
            mask: bool, of the same shape; None where the update chooses it.
            sparsity: share to prune, for one that chooses.

        Returns:
            The new weight, float32, zero where pruned, and the mask, both (out_features, in_features).
        """


@dataclass(frozen=True)
class Update:
    """One way to correct the kept weights."""

    factor: str
    """Its `Factor`, as `module:class`."""
    chooses: bool = False
    """It can choose the mask while it corrects: a method of its own."""
    with_scores: bool = True
    """It corrects the mask that a score chose: a method with every score."""
    group: str = "layer"
    """The only comparison group where it chooses."""

    def factor_of(self, gram: Tensor) -> Factor:
        """See `Factor.of`."""
        return target(self.factor).of(gram)


UPDATES: dict[str, Update] = {
    # As published: 128 columns at a time, the weights of all rows compete.
    "sparsegpt": Update("wanda_core.method.sparsegpt:SparseGptFactor", chooses=True, with_scores=False),
    "admm": Update("wanda_core.method.admm:AdmmFactor", chooses=True, group="output"),
}


def update_named(name: str) -> Update | None:
    """The update of that name; None for `none`.

    Raises:
        Refused: no such update.
    """
    if name == NONE:
        return None
    if name not in UPDATES:
        raise Refused(f"no update `{name[:40]}`: choose from {', '.join([NONE, *UPDATES])}")
    return UPDATES[name]
