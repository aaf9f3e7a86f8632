"""Where a model is to be, and how large it may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from wanda_core.errors import Refused
from wanda_core.machine import free_bytes, gigabytes


@dataclass(frozen=True)
class Target:
    """Where a model is to be, in which dtype, and how large it may be."""

    device: torch.device
    dtype: torch.dtype | str
    """`auto`: the checkpoint's."""
    most_bytes: int | None
    make_room: Callable[[int], None] | None = None
    """Asked to give back memory before a model of so many bytes is loaded."""
    stream: bool = False
    """Leave the weights in their files, see `load_streamed`."""

    def refuse_too_much(self, source: str, fetched: int) -> None:
        """Files beside the weights, or weights that the Hub does not count, would fill the disk, too."""
        if self.most_bytes is not None and fetched > self.most_bytes:
            raise Refused(
                f"{source} has {gigabytes(fetched)} of files, at most {gigabytes(self.most_bytes)} are allowed here: "
                f"choose a smaller model"
            )

    def refuse_unfit(
        self, source: str, needed: int, mapped: bool = True, block: Callable[[], int] = lambda: 0
    ) -> None:
        """
        Args:
            needed: bytes of the weights as they will be on the device.
            mapped: weights in the checkpoint's dtype are read from their file and need no memory of the machine's own
                on their way to another device; others are converted in it.
            block: bytes of what is in memory at a time where mapped weights stay in their files.
        """
        if self.most_bytes is not None and needed > self.most_bytes:
            raise Refused(
                f"{source} has about {gigabytes(needed)} of weights, at most {gigabytes(self.most_bytes)} are "
                f"allowed here: choose a smaller model"
            )
        if self.make_room is not None:
            self.make_room(needed)
        free = free_bytes(self.device)
        if mapped and self.stream:
            if block() > free:
                raise Refused(
                    f"{source} needs about {gigabytes(block())} for one block of its weights, {gigabytes(free)} are "
                    "free: take a smaller model"
                )
        elif needed > free:
            raise Refused(
                f"{source} needs about {gigabytes(needed)} on {self.device}, {gigabytes(free)} are free: "
                f"try {{dtype}} bfloat16 or a smaller model"
            )
        host = torch.device("cpu")
        converted = not mapped or isinstance(self.dtype, torch.dtype)
        if self.device != host and converted and needed > free_bytes(host):
            raise Refused(
                f"{source} needs about {gigabytes(needed)} of the machine's own memory on its way to {self.device}, "
                f"{gigabytes(free_bytes(host))} are free: leave {{dtype}} at auto or take a smaller model"
            )
