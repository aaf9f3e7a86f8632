"""Pruning a streamed model gives what pruning it in memory gives, and reads each weight once in a pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.streaming import Counted, both, stored_in_half
from wanda_core import LanguageModel, Recipe, Refused, load, perplexity
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.models.prunable_layers import Layer
from wanda_core.pruning import memory_needed
from wanda_core.pruning.parked_forward import ParkedForward
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

MODEL_BY_MODEL = [
    ("llama", {"method": "wanda", "schedule": "layer"}),
    ("llama", {"method": "sparsegpt", "schedule": "dense", "pattern": "2:4"}),
    ("llama", {"recovery": "blocks", "schedule": "dense"}),
    ("llama", {"pattern": "2:4", "order": "channels"}),
    ("gemma3", {"method": "sparsegpt", "schedule": "block"}),
    ("gemma3", {"recovery": "blocks", "schedule": "block", "bits": 8}),
    ("opt", {"method": "wanda+admm", "schedule": "layer"}),
    ("opt", {"method": "ria", "allocation": "owl", "schedule": "dense"}),
    ("gpt2", {"method": "admm", "schedule": "block"}),
    ("gpt2", {"method": "magnitude", "recovery": "model"}),
]


def weights(model: LanguageModel, pruning: Pruning) -> list[Tensor]:
    return [pruning.weight(layer) for layer in model.prunable.layers]


@pytest.mark.parametrize(("family", "settings"), MODEL_BY_MODEL)
def test_it_gives_what_pruning_in_memory_gives(
    family: str, settings: dict[str, Any], tokens: Tensor, tmp_path: Path
) -> None:
    recipe = Recipe(**({} if "pattern" in settings else {"sparsity": 0.5}) | settings)
    plain, streamed = both(stored_in_half(family, tmp_path))
    wanted = prune(plain.prunable, tokens, recipe, micro_batch=2)
    found = prune(streamed.prunable, tokens, recipe, micro_batch=2)
    assert all(np.array_equal(found.masks[name].bits, mask.bits) for name, mask in wanted.masks.items())
    assert all(map(torch.equal, weights(streamed, found), weights(plain, wanted)))
    assert [report.error for report in found.reports] == [report.error for report in wanted.reports]
    with wanted.applied(plain.prunable):
        measured = perplexity(plain.network, tokens)
    with found.applied(streamed.prunable):
        assert perplexity(streamed.network, tokens) == measured
    assert {p.dtype for p in streamed.network.parameters()} == {torch.bfloat16}  # nothing is left in memory


@pytest.mark.parametrize("schedule", ["layer", "block", "dense"])
def test_a_pass_reads_each_weight_once(schedule: str, tokens: Tensor, tmp_path: Path) -> None:
    model = load(stored_in_half("llama", tmp_path), stream=True)
    counted = Counted(model)
    prune(model.prunable, tokens, Recipe(sparsity=0.5, schedule=schedule), micro_batch=2)
    assert counted.times == {
        name: 1 for name, _ in model.network.named_parameters() if not name.startswith("lm_head")
    }


def test_a_file_that_is_rewritten_meanwhile_discards_the_result(tokens: Tensor, tmp_path: Path) -> None:
    model = load(stored_in_half("llama", tmp_path), stream=True)
    file = tmp_path / "model.safetensors"

    def rewrite(done: float, where: str) -> None:
        if where.startswith(
            "model.layers.2.mlp.down"
        ):  # the last: nothing is read after it but the last norm
            file.write_bytes(file.read_bytes())

    with pytest.raises(Refused, match=r"model\.safetensors was changed while"):
        prune(model.prunable, tokens, Recipe(sparsity=0.5), on_progress=rewrite)
    assert {p.dtype for p in model.network.parameters()} == {torch.bfloat16}


def test_changed_values_in_memory_follow_what_is_free(
    tokens: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, streamed = both(stored_in_half("llama", tmp_path))
    recipe = Recipe(sparsity=0.5, method="sparsegpt")
    needed = memory_needed.walk_bytes(streamed.prunable, *tokens.shape, 8, "layer", gram=True)
    wanted = prune(plain.prunable, tokens, recipe)
    monkeypatch.setattr(memory_needed, "free_bytes", lambda _: needed + 10_000)
    found = prune(streamed.prunable, tokens, recipe)
    assert found.changed.memory_bytes <= 10_000 < found.changed.disk_bytes
    assert wanted.changed.disk_bytes == 0
    assert all(map(torch.equal, weights(streamed, found), weights(plain, wanted)))


def test_what_a_walk_needs_holds_one_block_and_what_waits_before_it(tmp_path: Path) -> None:
    plain, streamed = both(stored_in_half("llama", tmp_path))
    block = max(sum(p.numel() for p in block.parameters()) for block in plain.prunable.blocks)
    largest = 4 * max(block, plain.network.get_input_embeddings().weight.numel())
    waiting = {
        "layer": 0,
        "block": 0,
        "dense": 8 * 24 * 3 * 32 * 4,
    }  # of every token, three vectors of its width
    heap = (len(plain.prunable.blocks) - 1) * 6 * sum(x.stored.numel() for x in plain.prunable.layers[:7])
    for schedule, held in waiting.items():
        walk = [memory_needed.walk_bytes(x.prunable, 8, 24, 2, schedule) for x in (plain, streamed)]
        assert walk[1] - walk[0] == largest + held - heap


@pytest.mark.parametrize("schedule", ["layer", "block", "dense"])
def test_a_layer_is_decided_while_it_is_in_memory(schedule: str, tokens: Tensor, tmp_path: Path) -> None:
    """Under `dense` too: else all layers' statistics would wait for the end, and each weight be read again."""
    prunable = load(stored_in_half("llama", tmp_path), stream=True).prunable
    stream = prunable.stream
    assert stream is not None
    found: list[bool] = []

    def decide(layer: Layer, statistics: InputStatistics) -> Tensor:
        found.append(layer.parameter in stream.resident)
        return layer.weight

    ParkedForward(prunable, tokens, decide, micro_batch=2, schedule=schedule).run()
    assert found == [True] * len(prunable.layers)
