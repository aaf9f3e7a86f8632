"""A GGUF source exported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wanda_core import LanguageModel, Recipe, load, load_packed
from wanda_core.export.folder import save_pruned
from wanda_core.export.gguf_file import save_gguf
from wanda_core.export.model_card import source_license
from wanda_core.pruning.prune_model import prune


@pytest.mark.real
@pytest.mark.long
def test_a_gguf_source_exports_and_loads_anywhere(smollm2_model: LanguageModel, tmp_path: Path) -> None:
    """In a fresh process, with nothing but transformers."""
    model = smollm2_model
    tokens = torch.arange(100, 132)[None]
    pruning = prune(model.prunable, tokens, Recipe(method="magnitude", pattern="2:4"))
    save_pruned(model, pruning, tokens, {}, tmp_path / "out")
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "with torch.no_grad(): torch.save(model(torch.arange(100, 132)[None]).logits, sys.argv[2])\n"
        "assert 'wanda_core' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out", tmp_path / "logits"], cwd=tmp_path, check=True
    )
    with torch.no_grad(), pruning.applied(model.prunable):
        assert torch.load(tmp_path / "logits").equal(model.network(tokens).logits)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config
    assert source_license(model) == "apache-2.0"
    save_pruned(model, pruning, tokens, {}, tmp_path / "packed", kind="packed")
    with torch.no_grad():
        assert load_packed(tmp_path / "packed")(tokens).logits.equal(torch.load(tmp_path / "logits"))


@pytest.mark.real
@pytest.mark.long
@pytest.mark.parametrize("bits", [16, 8])
def test_smollm2_is_written_as_gguf(
    bits: int, smollm2_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source with heads in groups, a tied head in Q8_0 and layers in Q4_1, whose zeros were none."""
    pruning = prune(
        smollm2_model.prunable, torch.arange(100, 132)[None], Recipe(method="magnitude", pattern="2:4")
    )
    save_gguf(smollm2_model, pruning.in_bits(bits), {}, tmp_path / "out.gguf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # not among the user's own copies
    again = load(str(tmp_path / "out.gguf"))
    for layer in again.prunable.layers:
        assert layer.weight[~pruning.masks[layer.name].unpack()].eq(0).all()
    tokens = torch.arange(200, 264)[None]
    with torch.no_grad(), pruning.applied(smollm2_model.prunable):
        wanted, found = smollm2_model.network(tokens).logits, again.network(tokens).logits
    assert float((found - wanted).abs().mean()) < {16: 0.05, 8: 0.6}[bits]
    ids = [each.tokenizer("Once upon a time, 1234 cafés\n")["input_ids"] for each in (smollm2_model, again)]
    assert ids[0] == ids[1]
