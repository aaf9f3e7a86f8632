"""Values of kept weights that a method changed: in memory, and past a cap in a temporary file."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np
import torch
from torch import Tensor

from wanda_core.errors import Refused

MEMORY_CAP = 512 * 2**20
"""Bytes of changed values that one result holds in memory; what comes after goes to disk."""


class ChangedValues:
    """One flat tensor for each layer, in the layer's dtype. The file has no name and goes with the object."""

    def __init__(self, cap: int = MEMORY_CAP) -> None:
        self.memory_bytes = 0
        self.disk_bytes = 0
        self._cap = cap
        self._values: dict[str, Tensor] = {}
        self._file: IO[bytes] | None = None
        self._offsets: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def put(self, name: str, values: Tensor) -> None:
        """Keep a layer's values, shape (kept,), any float dtype, in place of its earlier ones.

        Raises:
            Refused: they have to go to disk, and it is full.
        """
        values = values.cpu()
        size = values.numel() * values.element_size()
        if name in self._offsets:  # as many as before: the mask is the same
            self._values[name] = self._on_disk(name, values)
            return
        if name in self._values:
            before = self._values.pop(name)
            self.memory_bytes -= before.numel() * before.element_size()
        if self.memory_bytes + size > self._cap and size:
            values = self._on_disk(name, values)
            self.disk_bytes += size
        else:
            self.memory_bytes += size
        self._values[name] = values

    def get(self, name: str) -> Tensor:
        """The layer's values, (kept,), on the CPU; not to be written to."""
        return self._values[name]

    def _on_disk(self, name: str, values: Tensor) -> Tensor:
        """The same values, memory-mapped in the file: where the earlier ones were, else at its end."""
        raw = values.contiguous().view(torch.uint8).numpy()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="wanda-lab-")  # noqa: SIM115
            at_end = name not in self._offsets
            offset = self._file.seek(0, 2) if at_end else self._file.seek(self._offsets[name])
            self._file.write(raw.data)
            self._file.flush()
        except OSError as error:
            raise Refused(f"changed weights cannot be kept on disk: {error.strerror}") from error
        self._offsets[name] = offset
        # Copy on write, never written: torch warns of arrays that are read-only.
        mapped = np.memmap(self._file, dtype=np.uint8, mode="c", offset=offset, shape=raw.shape)
        return torch.from_numpy(mapped).view(values.dtype)
