"""Exports without their zeros, the model card, and what happens when an export is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, MixtralConfig

from tests.support.models import byte_tokenizer
from tests.support.server import ROOT
from wanda_core import LanguageModel, Recipe, Refused, find_prunable_layers, load, load_packed
from wanda_core.export.folder import save_pruned
from wanda_core.export.kinds import KINDS
from wanda_core.export.model_card import fine_tune
from wanda_core.export.packed_file import file_sizes, load_layers
from wanda_core.models.load import PACKED
from wanda_core.models.prunable_layers import ExpertLayer, Layer
from wanda_core.pruning.prune_model import prune


@pytest.fixture
def mixture(tmp_path: Path) -> LanguageModel:
    """A mixture of experts, whose matrices share one parameter."""
    folder = tmp_path / "mixture"
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4, max_position_embeddings=256,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return load(str(folder))


@pytest.mark.parametrize("packed", [False, True])
def test_experts_come_back_and_keep_their_zeros(
    mixture: LanguageModel, tokens: Tensor, tmp_path: Path, packed: bool
) -> None:
    pruning = prune(mixture.prunable, tokens, Recipe(pattern="2:4"))
    out = tmp_path / "out"
    save_pruned(mixture, pruning, tokens, {}, out, kind="packed" if packed else "folder")
    if packed:
        again = load_packed(out)
    else:
        names = {"FOLDER": str(out)}
        exec(fine_tune(KINDS["folder"]), names)
        again = names["model"]
        again(input_ids=tokens, labels=tokens).loss.backward()
        names["optimizer"].step()
    assert any(isinstance(layer, ExpertLayer) for layer in mixture.prunable.layers)
    for layer in find_prunable_layers(again).layers:
        weight, mask = layer.weight, pruning.masks[layer.name].unpack()
        assert weight[~mask].eq(0).all()
        assert weight.equal(pruning.weight(_named(mixture, layer.name))) == packed


def _named(model: LanguageModel, name: str) -> Layer:
    return next(layer for layer in model.prunable.layers if layer.name == name)


RECIPES = {
    "2:4": Recipe(pattern="2:4"),
    "60%": Recipe(sparsity=0.6),
    "recovered": Recipe(sparsity=0.6, recovery="blocks"),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_packed_comes_back_to_the_bit(
    licensed_model: LanguageModel, tokens: Tensor, tmp_path: Path, recipe: Recipe
) -> None:
    pruning = prune(licensed_model.prunable, tokens, recipe)
    out = tmp_path / "out"
    save_pruned(licensed_model, pruning, tokens, {}, out, kind="packed")
    assert not (out / "model.safetensors").exists()
    again = load_packed(out)
    with pruning.applied(licensed_model.prunable):
        wanted = licensed_model.network.state_dict()
        for name, weight in again.state_dict().items():
            assert weight.numpy().tobytes() == wanted[name].contiguous().numpy().tobytes(), name
        with torch.no_grad():
            assert again(input_ids=tokens).logits.equal(licensed_model.network(input_ids=tokens).logits)
    layers = load_layers(out / PACKED)
    assert layers.keys() == pruning.masks.keys()
    for layer in licensed_model.prunable.layers:
        assert layers[layer.name].unpack().equal(pruning.weight(layer))
    sizes = file_sizes(licensed_model, pruning)
    header = int.from_bytes((out / PACKED).read_bytes()[:8], "little") + 8
    assert (out / PACKED).stat().st_size - header == sizes["packed"]
    assert sum(mask.bits.nbytes for mask in pruning.masks.values()) == sizes["masks"]
    if recipe.pattern != "2:4":
        assert sizes["packed"] == sizes["bitmask"]


def test_a_two_four_layer_takes_at_most_057_of_its_bytes(tokens: Tensor, tmp_path: Path) -> None:
    model = load("pocket")
    pruning = prune(model.prunable, tokens, Recipe(method="magnitude", pattern="2:4"))
    save_pruned(model, pruning, tokens, {}, tmp_path / "out", kind="packed")
    with safe_open(tmp_path / "out" / PACKED, framework="np") as file:
        for layer in model.prunable.layers:
            size = sum(file.get_tensor(f"{layer.name}.{part}").nbytes for part in ("values", "places"))
            assert size <= 0.57 * layer.stored.nbytes


def test_ties_dtype_and_config_of_an_export(
    licensed_model: LanguageModel, tokens: Tensor, tmp_path: Path
) -> None:
    pruning = prune(licensed_model.prunable, tokens, Recipe())
    save_pruned(licensed_model, pruning, tokens, {}, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert not {key for key in config if "sparsity" in key or "compression" in key or "quantization" in key}
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert {weight.dtype for weight in written.values()} == {torch.float32}
    tied = licensed_model.network.config.tie_word_embeddings
    assert ("lm_head.weight" in written) == (not tied)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied


def test_a_source_that_names_no_class(llama_folder: Path, tokens: Tensor, tmp_path: Path) -> None:
    """As a GGUF file."""
    model = load(str(llama_folder))
    model.network.config.architectures = None
    save_pruned(model, prune(model.prunable, tokens, Recipe()), tokens, {}, tmp_path / "out", kind="packed")
    assert isinstance(load_packed(str(tmp_path / "out")), type(model.network))


def test_large_models_come_in_shards(
    llama_folder: Path, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wanda_core.export.plain_weights.SHARD", "30KB")
    model = load(str(llama_folder))
    pruning = prune(model.prunable, tokens, Recipe())
    save_pruned(model, pruning, tokens, {}, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    assert load(str(tmp_path / "out")).parameters == model.parameters


def test_what_does_not_come_back_is_not_offered(
    llama_folder: Path, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses a bit: the zeros of another mask are written."""
    model = load(str(llama_folder))
    pruning = prune(model.prunable, tokens, Recipe())
    save = type(model.network).save_pretrained

    def damage(network, folder, **options) -> None:
        save(network, folder, **options)
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)

    monkeypatch.setattr(type(model.network), "save_pretrained", damage)
    with pytest.raises(Refused, match="differs after re-reading"):
        save_pruned(model, pruning, tokens, {}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_killed_half_way_leaves_no_folder(llama_folder: Path, tmp_path: Path) -> None:
    """SIGKILL once the weights are written: nothing can be cleaned up, and nothing looks like a model."""
    code = """
import os, signal, sys, torch
from pathlib import Path
from wanda_core import Recipe, load
from wanda_core.pruning.prune_model import prune
from wanda_core.export import folder as module
module.save_masks = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
model = load(sys.argv[1])
tokens = torch.randint(256, (2, 24))
module.save_pruned(model, prune(model.prunable, tokens, Recipe()), tokens, {}, Path(sys.argv[2]))
"""
    out = tmp_path / "out"
    ran = subprocess.run([sys.executable, "-c", code, str(llama_folder), str(out)], cwd=ROOT, check=False)
    assert ran.returncode == -signal.SIGKILL
    assert not out.exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    assert left.name.endswith(".partial")
    assert (left / "model.safetensors").exists()


@pytest.mark.parametrize("damage", ["cut", "none", "foreign"])
def test_a_damaged_packed_file_is_refused(
    damage: str, llama_folder: Path, tokens: Tensor, tmp_path: Path
) -> None:
    model = load(str(llama_folder))
    save_pruned(model, prune(model.prunable, tokens, Recipe()), tokens, {}, tmp_path / "out", kind="packed")
    file = tmp_path / "out" / PACKED
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "none":
        file.unlink()
    else:
        file.write_bytes(b"no safetensors file")
    with pytest.raises(Refused, match="damaged"):
        load_packed(tmp_path / "out")
