"""What to prune and how: the recipe, frozen and serialisable, and the checks on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from wanda_core.errors import Refused
from wanda_core.method.allocations import ALLOCATIONS, Allocation, Named, parse_allocation
from wanda_core.method.bits import NAMES, TYPES
from wanda_core.method.methods import GROUPS, METHODS, method_named
from wanda_core.method.pattern import Pattern

SCHEDULES = ("layer", "block", "dense")
RECOVERIES = {"none": "", "blocks": " recovered", "model": " fine-tuned"}
"""And what follows the name of a point: `wanda 50% recovered`."""
ORDERS = {"none": "", "channels": " ordered"}
"""And what follows the name of a point, before its recovery."""


def name_suffix(row: Mapping[str, Any]) -> str:
    """What follows method and amount in the name of a point, such as ` ordered recovered 8-bit`.

    Args:
        row: a row of results, of which earlier versions lack some of it, or `Recipe.as_dict()`.
    """
    ordered, recovered = (row.get(key) or "none" for key in ("order", "recovery"))
    return ORDERS.get(ordered, "") + RECOVERIES.get(recovered, "") + NAMES.get(row.get("bits") or 16, "")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the masks, apart from the weights, the calibration tokens and the machine."""

    method: str = "wanda"
    """Which weights are pruned, and what happens to the kept ones."""
    sparsity: float | None = None
    """Share of each comparison group to prune, 0 to 1; the pattern's own, else 0.5, where left out."""
    pattern: str = "unstructured"
    """Where zeros may fall: `unstructured`, or N:M, N weights kept of every M inputs, such as 2:4."""
    group: str | None = None
    """Which weights compete: `output` (a row), `layer` or `input` (a column); the method's own where left out, and
    always with N:M."""
    allocation: str = "uniform"
    """How sparsity is distributed over layers: `uniform`, `owl`, `linear:BETA` (each block is pruned by BETA more than
    the one before), `sensitivity` (by a scan: each block is pruned alone and the loss measured), or NAME=RATIO,... with
    block numbers or layer names, such as 0=0.3,model.layers.1.mlp.down_proj=0.6; a layer comes before its block, the
    rest gets the sparsity."""
    schedule: str = "layer"
    """Which model the activations come from: pruned up to the `layer` or the `block` before, or `dense`."""
    recovery: str = "none"
    """Training of the kept weights and norms, zeros kept: `none`, `blocks`, each block towards the dense model's
    output, or `model`, all of them together towards text and dense model, with memory for five float32 copies of the
    model. In float32 where the model is in half precision. It gains most on text like the calibration."""
    order: str = "none"
    """Order of the channels under an N:M pattern: `none`, as they are, or `channels`, an order in which the pattern
    keeps more of Wanda's scores, folded into weights, norms and embeddings: the pruned model is an ordinary one."""
    bits: int = 16
    """Bits that the kept weights are rounded to when all else is done, zeros as zeros: `16`, not at all, `8` as GGUF's
    Q8_0 does, or `4` as Q4_0. Neither errors of layers nor a recovery look at the rounded values."""
    seed: int = 0
    """Seed of what is random in a method; the calibration's seed is its own."""

    def __post_init__(self) -> None:
        method = method_named(self.method)
        pattern = Pattern.parse(self.pattern)
        sparsity = _sparsity(self.sparsity, pattern)
        object.__setattr__(self, "sparsity", sparsity)
        if self.group is not None and self.group not in GROUPS:
            raise Refused(f"{{group}} must be one of {', '.join(GROUPS)}")
        if self.group is not None and self.group not in method.groups:
            raise Refused(
                f"{{group}} {self.group} does not apply to {self.method}, "
                f"whose weights compete within {', '.join(method.groups)} only"
            )
        if pattern.structured and self.group is not None:
            raise Refused(
                f"{{group}} does not apply to {pattern}: weights compete within every {pattern.among} inputs"
            )
        if not pattern.structured and self.group is None:
            object.__setattr__(self, "group", method.group)
        allocation = parse_allocation(self.allocation)
        if isinstance(allocation, Named):
            object.__setattr__(self, "allocation", str(allocation))
        if pattern.structured and self.allocation != "uniform":
            raise Refused(
                f"{{allocation}} does not apply to N:M patterns: {pattern} fixes every layer's sparsity"
            )
        if self.schedule not in SCHEDULES:
            raise Refused(f"{{schedule}} must be one of {', '.join(SCHEDULES)}")
        if self.recovery not in RECOVERIES:
            raise Refused(f"{{recovery}} must be one of {', '.join(RECOVERIES)}")
        if self.order not in ORDERS:
            raise Refused(f"{{order}} must be one of {', '.join(ORDERS)}")
        if self.order != "none" and not pattern.structured:
            raise Refused(
                "{order} needs an N:M {pattern}, such as 2:4: without one a weight may be pruned wherever its "
                "column lies"
            )
        if type(self.bits) is not int or self.bits not in TYPES:
            raise Refused(f"{{bits}} must be one of {', '.join(map(str, TYPES))}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise Refused("{seed} must be a whole number, 0 or more")

    @cached_property
    def parsed_pattern(self) -> Pattern:
        return Pattern.parse(self.pattern)

    @property
    def needs_inputs(self) -> bool:
        """Whether the result depends on the calibration windows."""
        allocation = self.named_allocation
        looks = METHODS[self.method].needs_inputs or allocation.needs_norms or allocation.needs_scan
        return looks or self.recovery != "none" or self.order != "none"

    @property
    def named_allocation(self) -> Allocation:
        """That of the registry; explicit ratios need no more than `uniform`."""
        chosen = parse_allocation(self.allocation)
        return chosen.allocation if isinstance(chosen, Named) else ALLOCATIONS["uniform"]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _sparsity(value: float | None, pattern: Pattern) -> float:
    if value is None:
        return pattern.sparsity if pattern.structured else 0.5
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Refused("{sparsity} must lie between 0 and 1: the share of weights to prune")
    if pattern.structured and abs(value - pattern.sparsity) > 1e-9:
        raise Refused(
            f"{{pattern}} {pattern} fixes the sparsity at {pattern.sparsity:g}: omit {{sparsity}} {value:g}"
        )
    return float(value)
