"""Write a safetensors file piece by piece, so that it can be stopped in the middle of many gigabytes.

`safetensors.torch.save_file` writes the same bytes and cannot be stopped. The format: eight bytes with the header's
length, the header (JSON: dtype, shape and place of every tensor), the tensors without a gap between them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from wanda_core.errors import Stopped

PIECE = 32 * 2**20
"""Bytes between two looks at the stop event."""
NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(
    tensors: Mapping[str, Tensor],
    file: Path,
    metadata: Mapping[str, str],
    stop: threading.Event | None = None,
) -> None:
    """Write `tensors`, on any device and in any layout, to `file`.

    Raises:
        Stopped: `stop` was set; what was written so far is still there.
    """
    # The widest elements first: every tensor then lies at a multiple of its element's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": NAMES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            content = memoryview(as_bytes(tensors[name]).numpy())
            for start in range(0, len(content), PIECE):
                check_stop(stop)
                stream.write(content[start : start + PIECE])


def as_bytes(tensor: Tensor) -> Tensor:
    """A tensor's bytes in row order, uint8 (bytes,), on the CPU."""
    return tensor.detach().cpu().reshape(-1).view(torch.uint8)


def check_stop(stop: threading.Event | None) -> None:
    """Raise `Stopped` once `stop` is set."""
    if stop is not None and stop.is_set():
        raise Stopped
