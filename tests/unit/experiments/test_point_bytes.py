"""Bytes of a point, against a file that holds it."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from gguf import GGUFReader
from torch import Tensor

from tests.support.gguf_families import family_folder
from wanda_core import LanguageModel, Recipe, load
from wanda_core.experiments import point_bytes as module
from wanda_core.experiments.point_bytes import point_bytes
from wanda_core.export.gguf_file import save_gguf
from wanda_core.method.bits import TYPES
from wanda_core.pruning.prune_model import prune


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("bytes") / "model"
    return load(str(family_folder(folder, "qwen2", ["a text of some words"] * 3)))


@pytest.mark.parametrize("bits", list(TYPES))
def test_bytes_are_those_of_a_file(
    bits: int, model: LanguageModel, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE", 2**40)  # all of it
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.6, bits=bits))
    save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    tensors = GGUFReader(tmp_path / "out.gguf").tensors
    found = point_bytes(model, pruning, bits)
    assert found.file == sum(tensor.data.nbytes for tensor in tensors)
    squeezed = sum(len(zlib.compress(tensor.data.tobytes())) for tensor in tensors)
    assert found.deflated == pytest.approx(squeezed, rel=0.01)  # short tensors do not get shorter
    kept = sum(int(pruning.masks[layer.name].unpack().sum()) for layer in model.prunable.layers)
    weights = sum(layer.weight.numel() for layer in model.prunable.layers)
    dense = {16: 2 * weights, 8: weights + weights // 16, 4: weights // 2 + weights // 16}[bits]
    of_kept = {16: 2 * kept, 8: kept + weights // 16, 4: kept / 2 + weights // 16}[bits]
    assert found.packed == pytest.approx(found.file - dense + of_kept + weights / 8, abs=len(pruning.masks))
    assert found.deflated < point_bytes(model, None, bits).deflated


def test_the_dense_model_has_no_bitmask(model: LanguageModel) -> None:
    for bits in TYPES:
        found = point_bytes(model, None, bits)
        assert found.packed == found.file
        assert found.as_row().keys() == {"bytes_file", "bytes_packed", "bytes_deflated"}


def test_rows_of_no_whole_blocks_stay_in_16_bits(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "divides", lambda weight: False)
    assert point_bytes(model, None, 4).file == point_bytes(model, None, 16).file


def test_a_sample_of_the_rows_tells_what_the_whole_takes(
    model: LanguageModel, tokens: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.5))
    whole = point_bytes(model, pruning, 16)
    monkeypatch.setattr(module, "SAMPLE", model.parameters // 2)
    sampled = point_bytes(model, pruning, 16)
    assert sampled.deflated != whole.deflated
    assert sampled.deflated == pytest.approx(whole.deflated, rel=0.05)
    assert (sampled.file, sampled.packed) == (whole.file, whole.packed)
