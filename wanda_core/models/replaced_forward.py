"""A module's forward with another in its place."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class ReplacedForward:
    """A module's forward, replaced until `remove`."""

    def __init__(self, module: nn.Module, forward: Callable[..., Tensor]) -> None:
        self._module = module
        self._before = vars(module).get("forward")
        module.forward = forward

    def remove(self) -> None:
        del self._module.forward
        if self._before is not None:
            self._module.forward = self._before
