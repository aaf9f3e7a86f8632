"""The header of a GGUF file, walked once before a library reads it: that believes every length the file gives, and
makes lists as long as it says.

Layout: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each fixed kind."""
STRING, ARRAY = 8, 9

MOST_VALUES = 10_000_000
"""Of an array; a vocabulary and its merges have a million."""

MOST_TENSORS = 100_000


def gguf_numbers(file: Path) -> int:
    """How many numbers the tensors of a GGUF file hold.

    Raises:
        ValueError: it is no such file, or says of a part that it is longer than the file.
    """
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Walk(data).numbers()
        except struct.error as error:
            raise ValueError("it ends within its header") from error


class _Walk:
    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = 0

    def numbers(self) -> int:
        magic, version, tensors, values = self._read("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("not a GGUF file of version 2 or 3")
        if tensors > MOST_TENSORS or values > MOST_TENSORS:
            raise ValueError(f"it says that it holds {tensors:,} tensors and {values:,} settings")
        for _ in range(values):
            self._skip_string()
            self._skip_value(self._read("<I")[0])
        total = 0
        for _ in range(tensors):
            self._skip_string()
            (dimensions,) = self._read("<I")
            if dimensions > 8:
                raise ValueError(f"it says that a tensor has {dimensions:,} dimensions")
            total += math.prod(self._read(f"<{dimensions}Q"))
            self._read("<IQ")
        return total

    def _read(self, form: str) -> tuple:
        found = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return found

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self.data):
            raise ValueError("it ends within its header")

    def _skip_string(self) -> None:
        self._skip(self._read("<Q")[0])

    def _skip_value(self, kind: int) -> None:
        if kind == STRING:
            self._skip_string()
        elif kind == ARRAY:
            each, count = self._read("<IQ")
            if count > MOST_VALUES:
                raise ValueError(f"it says that a list has {count:,} values")
            if each == STRING:
                for _ in range(count):
                    self._skip_string()
            else:
                self._skip(count * self._size(each))
        else:
            self._skip(self._size(kind))

    def _size(self, kind: int) -> int:
        if kind not in SIZES:
            raise ValueError(f"it has a value of the unknown kind {kind}")
        return SIZES[kind]
