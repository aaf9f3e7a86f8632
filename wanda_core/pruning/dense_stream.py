"""The dense model's own forward of the calibration text, parked behind each block: what recovery trains towards."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor, nn

from wanda_core.errors import check_stop
from wanda_core.models.prunable_layers import PrunableModel


class DenseStream:
    """Takes every micro-batch through the dense model, block by block.

    Args:
        batches: int64 (windows, length) each, on the decoder's device.
    """

    def __init__(
        self, prunable: PrunableModel, batches: Sequence[Tensor], stop: threading.Event | None
    ) -> None:
        self._prunable = prunable
        self._batches = batches
        self._stop = stop
        self._forwards = [greenlet(self._forward) for _ in batches]

    @contextmanager
    def running(self) -> Iterator[DenseStream]:
        """Let it be asked inside the `with`."""
        hooks = [block.register_forward_hook(self._behind) for block in self._prunable.blocks]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()
            for forward in self._forwards:
                if forward and not forward.dead:
                    forward.throw(GreenletExit)

    def next_block(self) -> Iterator[Tensor]:
        """Every micro-batch's output of the next block, (windows, length, hidden). The model must be dense meanwhile.

        Raises:
            Stopped: `stop` was set.
        """
        for forward, batch in zip(self._forwards, self._batches, strict=True):
            check_stop(self._stop)
            yield forward.switch() if forward else forward.switch(batch)

    def _forward(self, batch: Tensor) -> None:
        self._prunable.decoder(input_ids=batch, use_cache=False)

    def _behind(self, block: nn.Module, args: Any, output: Any) -> None:
        """A hook of every block; another forward's goes on."""
        if any(getcurrent() is forward for forward in self._forwards):
            getcurrent().parent.switch(hidden_of(output))


def hidden_of(output: Any) -> Tensor:
    """The hidden states in what a block returns, which some families have in a tuple."""
    return output if isinstance(output, Tensor) else output[0]
