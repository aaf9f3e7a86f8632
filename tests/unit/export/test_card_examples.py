"""The code on a model card runs as it is printed, for every kind of export, also where layers were never called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.support.gguf import tiny_gguf
from tests.support.models import byte_tokenizer, snapshot, tiny
from wanda_core import LanguageModel, Recipe, find_prunable_layers, load, load_masks
from wanda_core.export.folder import save_pruned
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning
from wanda_core.speed.packed_model import pack, packed

KINDS = ["folder", "packed", "masks"]


def code_of(folder: Path) -> str:
    """The card's example of fine-tuning."""
    part = (folder / "README.md").read_text().split("## Fine-tune and keep the zeros")[1]
    return part.split("```python\n")[1].split("```")[0]


def run_card(folder: Path, source: Path, tokens: Tensor) -> Any:
    """Run the card's example, then three steps of fine-tuning; the model."""
    code = code_of(folder)
    assert len([line for line in code.splitlines() if line]) <= 10
    names: dict[str, Any] = {"FOLDER": str(folder), "SOURCE": str(source)}
    exec(code, names)
    network, optimizer = names["model"], names["optimizer"]
    before = snapshot(network)
    for _ in range(3):
        network(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert any(not weight.equal(before[name]) for name, weight in network.state_dict().items())
    return network


def assert_zeros_kept(network: Any, pruning: Pruning) -> None:
    for layer in find_prunable_layers(network).layers:
        if layer.name in pruning.masks:
            mask = pruning.masks[layer.name].unpack()
            assert layer.weight[~mask].eq(0).all(), layer.name
            assert layer.weight[mask].ne(0).any(), layer.name


@pytest.fixture(params=["llama", "gpt2"])  # gpt2 stores its weights transposed, and ties its head
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    tiny(request.param).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_runs_and_keeps_the_zeros(
    kind: Any, source: Path, tokens: Tensor, tmp_path: Path
) -> None:
    model = load(str(source))
    pruning = prune(model.prunable, tokens, Recipe(pattern="2:4"))
    save_pruned(model, pruning, tokens, {}, tmp_path / "out", kind=kind)
    assert ("load_packed(FOLDER)" in code_of(tmp_path / "out")) == (kind == "packed")
    assert_zeros_kept(run_card(tmp_path / "out", source, tokens), pruning)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_were_never_called_stay_dense(
    kind: Any, source: Path, tokens: Tensor, tmp_path: Path
) -> None:
    """The forward passes one block's MLP by: no token reaches its layers."""
    model = load(str(source))
    blocks = getattr(model.network, "model", None) or model.network.transformer
    mlp = (blocks.layers if hasattr(blocks, "layers") else blocks.h)[1].mlp
    mlp.forward = lambda hidden: hidden
    pruning = prune(model.prunable, tokens, Recipe(pattern="2:4"))
    missed = [layer for layer in model.prunable.layers if layer.module in set(mlp.modules())]
    assert pruning.uncalled == [layer.name for layer in missed]
    assert missed
    out = tmp_path / "out"
    save_pruned(model, pruning, tokens, {}, out, kind=kind)
    card = (out / "README.md").read_text()
    assert all(f"`{layer.name}`" in card for layer in missed)
    assert json.loads((out / "recipe.json").read_text())["never_called"] == pruning.uncalled
    assert load_masks(out / "masks.safetensors").keys() == pruning.masks.keys()
    assert_zeros_kept(run_card(out, source, tokens), pruning)
    with torch.no_grad(), packed(model.prunable, pruning) as packs:
        assert packs.products.keys() == pruning.masks.keys()
        assert model.network(input_ids=tokens).logits.isfinite().all()
    assert pack(model.prunable, pruning).products.keys().isdisjoint(pruning.uncalled)


def test_masks_alone_hold_no_weights(llama_model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    for method in ("wanda", "sparsegpt"):
        pruning = prune(llama_model.prunable, tokens, Recipe(method=method))
        out = tmp_path / method
        save_pruned(llama_model, pruning, tokens, {}, out, kind="masks")
        files = {"README.md", "calibration.safetensors", "masks.safetensors", "recipe.json"}
        assert {file.name for file in out.iterdir()} == files
        # SparseGPT gives the kept weights new values, which masks do not have.
        card = (out / "README.md").read_text()
        assert ("do not have their new values" in card) == (method == "sparsegpt")
        assert "library_name" not in card


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_bfloat16_stays_and_the_recipe_says_with_what(
    kind: Any, source: Path, tokens: Tensor, tmp_path: Path
) -> None:
    model = load(str(source), dtype="bfloat16")
    pruning = prune(model.prunable, tokens, Recipe(seed=5))
    out = tmp_path / "out"
    drawn = {"text": "random", "samples": 8, "length": 24, "seed": 5}
    save_pruned(model, pruning, tokens, drawn, out, kind=kind)
    (file,) = (file for file in out.iterdir() if file.name in ("model.safetensors", "packed.safetensors"))
    floats = {tensor.dtype for tensor in load_file(file).values()} - {torch.uint8}
    assert floats == {torch.bfloat16}
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    description = json.loads((out / "recipe.json").read_text())
    assert description["recipe"]["seed"] == description["calibration"]["seed"] == 5
    assert {"torch", "transformers", "python", "threads", "micro_batch"} <= description["conditions"].keys()
    assert load_file(out / "calibration.safetensors")["tokens"].equal(tokens)


def test_the_example_of_a_gguf_export_runs(tokens: Tensor, tmp_path: Path) -> None:
    source = tiny_gguf(tmp_path / "source.gguf")
    model = load(str(source))
    pruning = prune(model.prunable, tokens, Recipe(pattern="2:4"))
    out = tmp_path / "out"
    save_pruned(model, pruning.in_bits(8), tokens, {}, out, kind="gguf")
    files = {"README.md", "calibration.safetensors", "masks.safetensors", "recipe.json", "model.gguf"}
    assert {file.name for file in out.iterdir()} == files
    card = (out / "README.md").read_text()
    assert "llama-cli -m model.gguf" in card
    assert "The pruned layers are Q8_0" in card
    assert_zeros_kept(run_card(out, source, tokens), pruning)


def test_the_example_for_kernels_that_skip_zeros_computes_the_same(
    source: Path, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MACKO's kernels need a GPU: a product by the same two functions, one vector at a time, in their place."""
    model = load(str(source))
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.5))
    save_pruned(model, pruning, tokens, {}, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    code = card.split("## Run it without its zeros")[1].split("```python\n")[1].split("```")[0]
    kernels = ModuleType("macko_spmv")
    kernels.compress = lambda weight: weight.clone()  # type: ignore[attr-defined]
    kernels.multiply = lambda weight, row: (weight.float() @ row.float()).half()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "macko_spmv", kernels)
    names: dict[str, Any] = {"FOLDER": str(tmp_path / "out"), "DEVICE": "cpu"}
    with torch.no_grad():
        exec(code, names)
        given = names["model"](input_ids=tokens[:2]).logits
        dense = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float16)
        wanted = dense(input_ids=tokens[:2]).logits
    assert torch.allclose(given, wanted, atol=0.02 * float(wanted.abs().max()))
    computing = [module for module in names["model"].modules() if "forward" in vars(module)]
    assert len(computing) == len(pruning.masks)
    assert all(module.weight is None for module in computing)
