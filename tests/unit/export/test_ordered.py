"""Exports of a pruning under an order of channels: ordinary models, their masks in order, and the order beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.support.gguf import tiny_gguf
from tests.support.gguf_families import family_folder
from wanda_core import LanguageModel, Recipe, Refused, load, load_masks, load_packed
from wanda_core.export.folder import save_pruned
from wanda_core.export.gguf_file import save_gguf
from wanda_core.models.channel_order import ChannelOrder, Shape
from wanda_core.pruning.prune_model import prune

TEXTS = ["The quick brown fox jumps over 12345 lazy dogs."] * 20
ORDERED = Recipe(pattern="2:4", order="channels")


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_an_ordinary_model_computes_what_was_measured(
    kind: str, llama_model: LanguageModel, tokens: Tensor, tmp_path: Path
) -> None:
    model, out = llama_model, tmp_path / "out"
    pruning = prune(model.prunable, tokens, ORDERED)
    save_pruned(model, pruning, tokens, {}, out, kind=kind)
    again = load_packed(out) if kind == "packed" else AutoModelForCausalLM.from_pretrained(out)
    with torch.no_grad(), pruning.applied(model.prunable):
        assert torch.equal(again(input_ids=tokens).logits, model.network(input_ids=tokens).logits)
    masks = load_masks(out / "masks.safetensors")
    order = ChannelOrder.of_names(load_file(out / "order.safetensors"), Shape.of(model.prunable), 3)
    for layer in model.prunable.layers:
        written, mask = again.get_submodule(layer.name).weight, masks[layer.name].unpack()
        assert (mask.reshape(-1, 4).sum(dim=1) == 2).all()
        assert torch.equal(written, order.put(layer.name, layer.weight) * mask)
    embeddings = model.network.get_input_embeddings().weight
    assert torch.equal(again.get_input_embeddings().weight, embeddings[:, order.residual])
    if kind == "folder":  # it is a source like any other
        assert torch.equal(load(str(out)).network(input_ids=tokens).logits, again(input_ids=tokens).logits)
    assert json.loads((out / "recipe.json").read_text())["recipe"]["order"] == "channels"
    assert "another order than the source's, under which 2:4 keeps more" in (out / "README.md").read_text()


def test_masks_alone_are_refused(llama_model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    pruning = prune(llama_model.prunable, tokens, ORDERED)
    with pytest.raises(Refused, match="would not fit the source's weights"):
        save_pruned(llama_model, pruning, tokens, {}, tmp_path / "out", kind="masks")
    assert not (tmp_path / "out").exists()


def test_gguf_is_refused(tokens: Tensor, tmp_path: Path) -> None:
    model = load(str(tiny_gguf(tmp_path / "source.gguf")))
    pruning = prune(model.prunable, tokens, ORDERED)
    with pytest.raises(
        Refused,
        match=r"order would tear the embeddings of source\.gguf apart.*: export a folder, and convert it",
    ):
        save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]


@pytest.mark.parametrize("case", ["smollm2", "qwen2"])
def test_other_sources_are_written_as_gguf(case: str, tokens: Tensor, tmp_path: Path) -> None:
    """What was written is read back and compared; here the embeddings once more, and the logits with the dense ones."""
    model = load(str(family_folder(tmp_path / case, case, TEXTS)))
    pruning = prune(model.prunable, tokens, ORDERED)
    save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    again = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="out.gguf", dtype=torch.float32)
    embeddings = model.network.get_input_embeddings().weight[:, pruning.order.residual]
    assert torch.equal(again.get_input_embeddings().weight, embeddings.half().float())
    with torch.no_grad(), pruning.applied(model.prunable):
        wanted = model.network(input_ids=tokens).logits
    assert (again(input_ids=tokens).logits - wanted).abs().max() < 5e-3 * wanted.abs().max()
    card = (tmp_path / "out.md").read_text()
    assert "another order than the source's" in card
    assert "order.safetensors" not in card


def test_without_an_order_nothing_is_said_of_one(
    llama_model: LanguageModel, tokens: Tensor, tmp_path: Path
) -> None:
    save_pruned(llama_model, prune(llama_model.prunable, tokens, Recipe()), tokens, {}, tmp_path / "out")
    assert not (tmp_path / "out" / "order.safetensors").exists()
    assert "another order" not in (tmp_path / "out" / "README.md").read_text()
