"""What the card says, and that its example does what it says."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from wanda_core import LanguageModel, Recipe, load
from wanda_core.export.folder import save_pruned
from wanda_core.export.kinds import KINDS
from wanda_core.export.model_card import fine_tune, source_license
from wanda_core.pruning.prune_model import prune


def test_the_card_says_what_was_done(licensed_model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    pruning = prune(licensed_model.prunable, tokens, Recipe(sparsity=0.6))
    row = {"method": "wanda", "pattern": "unstructured", "sparsity_reached": 0.6, "perplexity": 12.34}
    rows = [row | {"perplexity_low": 11.0, "perplexity_high": 13.5}]
    protocol = {"windows": 4, "eval_length": 24, "evaluation": "some text", "device": "a machine"}
    protocol |= {"dtype": "float32", "torch": "2", "transformers": "5", "date": "2026-01-01"}
    drawn = {"text": "random", "samples": 8, "length": 24, "seed": 7}
    save_pruned(licensed_model, pruning, tokens, drawn, tmp_path / "out", rows=rows, protocol=protocol)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: mit" in card.split("---")[1]
    assert "| wanda | 60.0% | 12.34 | 11 to 13.5 |" in card
    assert "first 4 windows of 24 tokens of some text" in card
    assert "8 windows of 24 tokens of random, seed 7" in card
    assert "## Limits" in card
    assert str(tmp_path) not in card


def test_licences_of_sources(licensed_model: LanguageModel) -> None:
    assert source_license(licensed_model) == "mit"
    assert source_license(load("pocket")) == "apache-2.0"


def test_the_cards_example_keeps_the_zeros(
    licensed_model: LanguageModel, tokens: Tensor, tmp_path: Path
) -> None:
    pruning = prune(licensed_model.prunable, tokens, Recipe(sparsity=0.6))
    save_pruned(licensed_model, pruning, tokens, {}, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    assert code.strip() == fine_tune(KINDS["folder"]).strip()
    assert len([line for line in code.splitlines() if line]) <= 10
    names = {"FOLDER": str(tmp_path / "out")}
    exec(code, names)
    network, optimizer = names["model"], names["optimizer"]
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    for _ in range(3):
        network(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = network.state_dict()
    for layer in licensed_model.prunable.layers:
        weight = after[f"{layer.name}.weight"]
        assert not weight.equal(before[f"{layer.name}.weight"])
        weight = weight.t() if layer.transposed else weight
        assert weight[~pruning.masks[layer.name].unpack()].eq(0).all()
