"""Which tensors lie in a file, and which do not."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from wanda_core.models.mapped_files import MappedFiles, stored_dtypes


def test_a_copy_is_told_from_what_is_mapped(tmp_path: Path) -> None:
    file = tmp_path / "two.safetensors"
    save_file({"first": torch.ones(4096), "second": torch.ones(4096, dtype=torch.bfloat16)}, file)
    assert stored_dtypes([file]) == {"F32", "BF16"}
    mapped = MappedFiles([file])
    with safe_open(file, framework="pt") as tensors:
        first, second = tensors.get_tensor("first"), tensors.get_tensor("second")
    assert mapped.first_outside([("first", first), ("second", second)]) is None
    assert mapped.first_outside([("first", first), ("second", second.clone())]) == "second"
    assert MappedFiles([]).first_outside([("first", first)]) == "first"
