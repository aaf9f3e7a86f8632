"""The exported folder: it loads, it computes the same, and it is there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.models import CONFIGS, assert_untouched, byte_tokenizer, snapshot, tiny
from wanda_core import Recipe, Refused, load, load_masks
from wanda_core.export.destination import check_destination
from wanda_core.export.folder import save_pruned
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.prune_model import prune


@pytest.fixture(params=list(CONFIGS))
def model(request: pytest.FixtureRequest, tmp_path: Path) -> LanguageModel:
    """One model of every family, loaded from a folder."""
    folder = tmp_path / "source"
    tiny(request.param).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return load(str(folder))


def test_the_folder_loads_and_computes_the_same(model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    before = snapshot(model.network)
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.6))
    out = tmp_path / "out"
    save_pruned(model, pruning, tokens, {"text": "random"}, out)
    assert_untouched(model.network, before)

    again = AutoModelForCausalLM.from_pretrained(out)
    with torch.no_grad(), pruning.applied(model.prunable):
        assert torch.equal(again(input_ids=tokens).logits, model.network(input_ids=tokens).logits)
    assert AutoTokenizer.from_pretrained(out)("abc")["input_ids"] == model.tokenizer("abc")["input_ids"]
    assert torch.equal(load_file(out / "calibration.safetensors")["tokens"], tokens)

    masks = load_masks(out / "masks.safetensors")
    assert masks.keys() == pruning.masks.keys()
    weights = again.state_dict()
    for layer in model.prunable.layers:
        mask = masks[layer.name].unpack()
        assert np.array_equal(masks[layer.name].bits, pruning.masks[layer.name].bits)
        written = weights[f"{layer.name}.weight"]
        written = written.t() if layer.transposed else written
        assert torch.equal(written != 0, mask)  # no dense weight of a random model is exactly zero
        assert torch.equal(written[mask], layer.weight[mask])
    for name in weights.keys() - {f"{layer.name}.weight" for layer in model.prunable.layers}:
        assert torch.equal(weights[name], before[name]), name

    description = json.loads((out / "recipe.json").read_text())
    assert Recipe(**description["recipe"]) == pruning.recipe
    assert description["calibration"] == {"text": "random"}
    assert len(description["layers"]) == len(model.prunable.layers)


def test_an_export_is_a_source(llama_model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    pruning = prune(llama_model.prunable, tokens, Recipe())
    save_pruned(llama_model, pruning, tokens, {}, tmp_path / "out")
    again = load(str(tmp_path / "out"))
    assert sum(int((layer.weight == 0).sum()) for layer in again.prunable.layers) == sum(
        report.pruned for report in pruning.reports
    )


def test_a_folder_in_use_is_refused(llama_model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    pruning = prune(llama_model.prunable, tokens, Recipe())
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(Refused, match="exists already"):
        save_pruned(llama_model, pruning, tokens, {}, tmp_path)
    with pytest.raises(Refused, match="exists already"):
        save_pruned(llama_model, pruning, tokens, {}, tmp_path / "mine.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    save_pruned(llama_model, pruning, tokens, {}, tmp_path / "empty")
    assert load(str(tmp_path / "empty"))


def test_destinations_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="file is not a folder"):
        check_destination(tmp_path / "file" / "a" / "b", 0)
    with pytest.raises(Refused, match="cannot be used: File name too long"):
        check_destination(tmp_path / ("x" * 300), 0)
    with pytest.raises(Refused, match=r"needs .* GB, the disk has"):
        check_destination(tmp_path / "out", 10**18)


def test_a_disk_that_fills_leaves_nothing(
    llama_model: LanguageModel, tokens: Tensor, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruning = prune(llama_model.prunable, tokens, Recipe())
    # The check beforehand would see it; here another program takes the space in the meantime.
    monkeypatch.setattr("wanda_core.export.folder.check_destination", lambda *_: None)
    before = snapshot(llama_model.network)
    with pytest.raises(Refused, match="not written") as caught:
        save_pruned(llama_model, pruning, tokens, {}, small_disk / "out")
    assert "\n" not in str(caught.value)
    assert list(small_disk.iterdir()) == []
    assert_untouched(llama_model.network, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
@pytest.mark.parametrize(
    "step",
    [
        "network",
        "tokenizer",
        "save_masks",
        "save_file",
        "json.dumps",
        "model_card",
    ],
)
def test_an_export_that_breaks_off_leaves_nothing(
    llama_model: LanguageModel,
    tokens: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    pruning = prune(llama_model.prunable, tokens, Recipe())
    before = snapshot(llama_model.network)

    def fail(*_args: object, **_options: object) -> None:
        raise error

    if step in ("network", "tokenizer"):
        monkeypatch.setattr(getattr(llama_model, step), "save_pretrained", fail)
    else:
        monkeypatch.setattr(f"wanda_core.export.folder.{step}", fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else Refused
    with pytest.raises(expected):
        save_pruned(llama_model, pruning, tokens, {}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert_untouched(llama_model.network, before)
