"""Safetensors files written piece by piece: any reader takes them, and writing ends when it should."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from wanda_core import Stopped
from wanda_core.tensor_file import NAMES, PIECE, write_tensors


@pytest.mark.parametrize("dtype", NAMES, ids=str)
def test_every_dtype_and_layout_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    whole = (torch.randn(6, 10, generator=torch.Generator().manual_seed(0)) * 9).to(dtype)
    tensors = {
        "a odd bytes": torch.ones(3, dtype=torch.uint8),
        "transposed": whole.t(),
        "every other": whole[::2, 1:7],
        "scalar": whole[0, 0],
        "empty": whole[:0],
        "\N{SNOWMAN} name": whole,
    }
    write_tensors(tensors, tmp_path / "file", {"format": "pt"})
    found = load_file(tmp_path / "file")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].equal(tensor), name
    with safe_open(tmp_path / "file", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    content = (tmp_path / "file").read_bytes()
    length = int.from_bytes(content[:8], "little")
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name in tensors:  # a reader maps the file: a tensor must lie where its elements may
            assert (8 + length + entry["data_offsets"][0]) % tensors[name].element_size() == 0, name


def test_stop_in_the_middle_of_a_tensor(tmp_path: Path) -> None:
    """Set once part of the one tensor is in the file; no more than another piece follows."""
    file = tmp_path / "file"

    class OnceBegun(threading.Event):
        def is_set(self) -> bool:
            return file.stat().st_size >= PIECE

    with pytest.raises(Stopped):
        write_tensors({"large": torch.zeros(4 * PIECE, dtype=torch.uint8)}, file, {}, OnceBegun())
    assert file.stat().st_size < 2 * PIECE
