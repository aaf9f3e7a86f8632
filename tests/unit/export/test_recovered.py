"""Exports of a recovered pruning: the trained values are in them, and the card says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from wanda_core import LanguageModel, Recipe
from wanda_core.export.folder import save_pruned
from wanda_core.pruning import model_recovery, recovery
from wanda_core.pruning.prune_model import prune


def test_a_recovered_folder_computes_with_trained_weights_and_norms(
    licensed_model: LanguageModel, tokens: Tensor, tmp_path: Path
) -> None:
    model = licensed_model
    pruning = prune(model.prunable, tokens, Recipe(recovery="blocks"))
    save_pruned(model, pruning, tokens, {"text": "random"}, tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad(), pruning.applied(model.prunable):
        assert torch.equal(again(input_ids=tokens).logits, model.network(input_ids=tokens).logits)
    dense = model.network.state_dict()
    written = again.state_dict()
    assert written.keys() == dense.keys()  # no parameter more
    changed = {name for name in dense if not torch.equal(written[name], dense[name])}
    weights = {f"{layer.name}.weight" for layer in model.prunable.layers}
    better = {report.block for report in pruning.recovered if report.after < report.before}
    assert len(better) >= 2  # a random model may have a block that only gets worse, and is left as decided
    assert changed == weights | {norm.name for norm in model.prunable.norms if norm.block in better}
    for layer in model.prunable.layers:
        weight = written[f"{layer.name}.weight"]
        mask = pruning.masks[layer.name].unpack()
        assert ((weight.t() if layer.transposed else weight)[~mask] == 0).all()
    described = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert described["recipe"]["recovery"] == "blocks"
    assert {x["block"] for x in described["recovered"] if x["after"] < x["before"]} == better
    card = (tmp_path / "out" / "README.md").read_text()
    first, last = (sum(block[at] for block in described["recovered"]) / 3 for at in ("before", "after"))
    assert f"went from {first:.4f} to {last:.4f}" in card
    assert "Nothing is retrained" not in card


def test_a_fine_tuned_folder_computes_with_trained_weights(
    licensed_model: LanguageModel, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_recovery, "RATE", 2e-3)
    model, text = licensed_model, tokens[:2].repeat(4, 1)  # what is held out can be learnt
    pruning = prune(model.prunable, text, Recipe(recovery="model"))
    save_pruned(model, pruning, text, {"text": "random"}, tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad(), pruning.applied(model.prunable):
        assert torch.equal(again(input_ids=text).logits, model.network(input_ids=text).logits)
    assert again.state_dict().keys() == model.network.state_dict().keys()  # no parameter more
    report = pruning.recovered_model
    assert report.after < report.before
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"went from {report.before:.4g} to {report.after:.4g}" in card
    assert "Nothing is retrained" not in card


def test_the_card_of_masks_alone_says_that_recovered_values_are_not_in_it(
    llama_model: LanguageModel, tokens: Tensor, tmp_path: Path
) -> None:
    pruning = prune(llama_model.prunable, tokens, Recipe(recovery="blocks"))
    save_pruned(llama_model, pruning, tokens, {}, tmp_path / "out", kind="masks")
    assert "recovery also changed the kept weights" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_names_blocks_whose_loss_turned_nan(
    llama_model: LanguageModel, tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "RATE", 1e30)
    pruning = prune(llama_model.prunable, tokens, Recipe(recovery="blocks"))
    save_pruned(llama_model, pruning, tokens, {}, tmp_path / "out")
    assert "loss turned NaN: blocks 0, 1, 2" in (tmp_path / "out" / "README.md").read_text()
