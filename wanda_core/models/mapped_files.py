"""Safetensors files whose values are used where they lie: mapped into memory, not read into it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from wanda_core.errors import Refused

MAPS = Path("/proc/self/maps")
"""The process's mappings, a line each: addresses, rights, offset, device, inode and file. Linux alone has it."""


@dataclass(frozen=True)
class _File:
    """A file as it was when it was opened. The open handle follows it where its name is taken away."""

    name: str
    handle: int
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> _File:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stat = os.fstat(handle)
        return cls(path.name, handle, stat.st_ino, stat.st_size, stat.st_mtime_ns)


class MappedFiles:
    """The files that a model's weights lie in, watched for changes. Open before they are mapped."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [_File.of(path) for path in paths]

    def __del__(self) -> None:
        for file in getattr(self, "_files", ()):
            os.close(file.handle)

    def check_unchanged(self) -> None:
        """A file that is deleted, or replaced by another of its name, stays as it is for those who have it mapped.

        Raises:
            Refused: a file was written to or cut since it was opened.
        """
        for file in self._files:
            stat = os.fstat(file.handle)
            if (stat.st_size, stat.st_mtime_ns) != (file.size, file.changed):
                raise Refused(
                    f"{file.name} was changed while its weights were in use: what was computed is discarded, "
                    "load the model again"
                )

    def first_outside(self, tensors: Iterable[tuple[str, Tensor]]) -> str | None:
        """The name of the first tensor whose values lie anywhere but in these files; None where all do."""
        inodes = {str(file.inode) for file in self._files}
        spans = []
        for line in MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
            addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
            if inode in inodes:
                start, end = (int(address, 16) for address in addresses.split("-"))
                spans.append((start, end))
        for name, tensor in tensors:
            first = tensor.data_ptr()
            if not any(start <= first and first + tensor.nbytes <= end for start, end in spans):
                return name
        return None


def stored_dtypes(paths: Sequence[Path]) -> set[str]:
    """The dtypes of all tensors in the files, by the names that safetensors has for them, such as `BF16`."""
    found = set()
    for path in paths:
        with safe_open(path, framework="pt") as tensors:
            found |= {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    return found
