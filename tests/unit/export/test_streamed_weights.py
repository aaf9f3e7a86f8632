"""Exports of streamed models: tensor by tensor, and what the model in memory gives."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.support.models import CONFIGS
from tests.support.streaming import both, stored_in_half
from wanda_core import LanguageModel, Recipe, Refused, load, load_masks
from wanda_core.errors import Stopped
from wanda_core.export import plain_weights
from wanda_core.export.folder import save_pruned
from wanda_core.export.gguf_file import save_gguf
from wanda_core.pruning.prune_model import prune

CALIBRATION = {"text": "random"}


def exported(model: LanguageModel, tokens: Tensor, recipe: Recipe, out: Path) -> dict[str, Tensor]:
    """All tensors of the export."""
    save_pruned(model, prune(model.prunable, tokens, recipe), tokens, CALIBRATION, out)
    tensors: dict[str, Tensor] = {}
    for file in out.glob("model*.safetensors"):
        tensors |= load_file(file)
    return tensors


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("shard", ["20KB", "5GB"])
def test_the_folder_is_that_of_the_model_in_memory(
    family: str, shard: str, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_weights, "SHARD", shard)
    plain, streamed = both(stored_in_half(family, tmp_path / "half"))
    recipe = Recipe(sparsity=0.5, method="sparsegpt")
    wanted = exported(plain, tokens, recipe, tmp_path / "plain")
    found = exported(streamed, tokens, recipe, tmp_path / "streamed")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    files = [{file.name for file in (tmp_path / name).iterdir()} for name in ("plain", "streamed")]
    assert files[0] == files[1]
    for name in ("config.json", "generation_config.json"):
        written = [
            (tmp_path / each / name).read_text() if name in files[0] else "" for each in ("plain", "streamed")
        ]
        assert written[0] == written[1]
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "streamed")
    with torch.no_grad():
        assert torch.isfinite(again(input_ids=tokens).logits).all()
    assert load_masks(tmp_path / "streamed" / "masks.safetensors").keys() <= {
        layer.name for layer in plain.prunable.layers
    }


@pytest.mark.parametrize(
    "recipe", [Recipe(pattern="2:4", order="channels"), Recipe(sparsity=0.5, recovery="blocks", bits=8)]
)
def test_orders_and_recovered_norms_are_written(recipe: Recipe, tokens: Tensor, tmp_path: Path) -> None:
    plain, streamed = both(stored_in_half("llama", tmp_path / "half"))
    wanted = exported(plain, tokens, recipe, tmp_path / "plain")
    found = exported(streamed, tokens, recipe, tmp_path / "streamed")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_what_takes_all_weights_at_once_is_refused(tokens: Tensor, tmp_path: Path) -> None:
    model = load(stored_in_half("llama", tmp_path / "half"), stream=True)
    pruning = prune(model.prunable, tokens, Recipe(pattern="2:4"))
    with pytest.raises(Refused, match="as a model folder or as masks, not as packed"):
        save_pruned(model, pruning, tokens, CALIBRATION, tmp_path / "out", kind="packed")
    with pytest.raises(Refused, match="as a model folder or as masks, not as gguf"):
        save_gguf(model, pruning, CALIBRATION, tmp_path / "out.gguf")
    save_pruned(model, pruning, tokens, CALIBRATION, tmp_path / "masks", kind="masks")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["half", "masks"]


def test_a_file_that_is_rewritten_meanwhile_leaves_no_export(tokens: Tensor, tmp_path: Path) -> None:
    model = load(stored_in_half("llama", tmp_path / "half"), stream=True)
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.5))
    file = tmp_path / "half" / "model.safetensors"
    file.write_bytes(file.read_bytes())
    with pytest.raises(Refused, match=r"model\.safetensors was changed while"):
        save_pruned(model, pruning, tokens, CALIBRATION, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["half"]


def test_stopping_leaves_no_export(tokens: Tensor, tmp_path: Path) -> None:
    model = load(stored_in_half("llama", tmp_path / "half"), stream=True)
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.5))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        save_pruned(model, pruning, tokens, CALIBRATION, tmp_path / "out", stop=stop)
    assert [file.name for file in tmp_path.iterdir()] == ["half"]
