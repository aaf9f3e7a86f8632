"""Where the forwards of a walk wait for each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from wanda_core.models.norms import Norm
from wanda_core.models.prunable_layers import Layer
from wanda_core.pruning.recovery import BlockCall


@dataclass(frozen=True)
class Place:
    """Where a forward is parked: before these layers, which are to be decided; at the entry of a block whose layers
    are, and which is to be recovered; or before a part of the model that has yet to be brought into memory."""

    layers: tuple[Layer, ...] = ()
    block: int | None = None
    call: BlockCall | None = field(default=None, compare=False)
    """How this forward calls the block."""
    part: nn.Module | None = None


Weights = dict[Layer | Norm, Tensor]
"""What a forward that waited goes on with."""
