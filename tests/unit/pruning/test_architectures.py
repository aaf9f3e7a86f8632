"""Every family of models: each linear layer found, pruned by its own inputs, and the model left as it was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tests.support.architectures import EXPERTS, HEADS, LLAMA, build
from tests.support.models import assert_untouched, byte_tokenizer, snapshot
from wanda_core import Recipe, find_prunable_layers, load
from wanda_core.method.masks import structured_mask, unstructured_mask
from wanda_core.pruning.prune_model import prune

LINEAR = 7  # q, k, v, o, gate, up, down


FAMILIES: dict[str, tuple[str, dict[str, Any], int]] = {
    # family: configuration class, what differs from LLAMA, linear layers in a block
    "llama": ("LlamaConfig", LLAMA, LINEAR),
    "mistral": ("MistralConfig", LLAMA | {"sliding_window": 8}, LINEAR),
    "qwen2": ("Qwen2Config", LLAMA, LINEAR),
    "qwen3": ("Qwen3Config", LLAMA | HEADS, LINEAR),
    "gemma2": ("Gemma2Config", LLAMA | HEADS | {"sliding_window": 8}, LINEAR),
    "gemma3": ("Gemma3TextConfig", LLAMA | HEADS | {"sliding_window": 8}, LINEAR),
    "phi3": ("Phi3Config", LLAMA, 4),
    "olmo2": ("Olmo2Config", LLAMA, LINEAR),
    "starcoder2": ("Starcoder2Config", LLAMA, 6),
    "opt": (
        "OPTConfig",
        {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 32},
        6,
    ),
    "gpt2": (
        "GPT2Config",
        {"n_embd": 32, "n_inner": 48, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2},
        4,
    ),
    "gpt-neox": (
        "GPTNeoXConfig",
        {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
        4,
    ),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, 4),
    "falcon": (
        "FalconConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2},
        4,
    ),
}  # fmt: skip


SCHEDULES = ["layer", "block", "dense"]


@pytest.fixture
def windows() -> Tensor:
    return torch.randint(3, 99, (4, 24), generator=torch.Generator().manual_seed(1))


def _matrix(module: nn.Module) -> Tensor:
    return module.weight.data.t() if isinstance(module, Conv1D) else module.weight.data


def _wanda_one_by_one(
    network: PreTrainedModel, names: list[str], windows: Tensor, pattern: str
) -> dict[str, Tensor]:
    """Masks of a copy whose layers are pruned one after the other, a plain forward before each; in order of calls."""
    network = copy.deepcopy(network)
    norms: dict[str, Tensor] = {}
    for name in names:
        network.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: norms.update(
                {name: args[0].double().flatten(0, -2).norm(dim=0).float()}
            )
        )
    network(input_ids=windows)
    masks = {}
    for name in list(norms):
        network(input_ids=windows)
        weight = _matrix(network.get_submodule(name))
        scores = weight.abs() * norms[name]
        masks[name] = (
            unstructured_mask(scores, 0.5, "output")
            if pattern == "unstructured"
            else structured_mask(scores, 2, 4)
        )
        weight.mul_(masks[name])
    return masks


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_wanda_prunes_every_family_by_its_own_inputs(family: str, pattern: str, windows: Tensor) -> None:
    config, arguments, count = FAMILIES[family]
    network = build(config, arguments)
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    assert [layer.block for layer in prunable.layers] == [0] * count + [1] * count
    pruning = prune(prunable, windows, Recipe(pattern=pattern), micro_batch=2)
    assert_untouched(network, before)
    assert not pruning.uncalled
    expected = _wanda_one_by_one(network, [layer.name for layer in prunable.layers], windows, pattern)
    differing = sum(int((pruning.masks[n].unpack() != mask).sum()) for n, mask in expected.items())
    assert differing <= 1e-3 * sum(mask.numel() for mask in expected.values())  # near-ties


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_sparsegpt_runs_on_every_family(family: str, schedule: str, windows: Tensor) -> None:
    config, arguments, _ = FAMILIES[family]
    network = build(config, arguments)
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, windows, Recipe(method="sparsegpt", schedule=schedule), micro_batch=3)
    assert_untouched(network, before)
    assert pruning.sparsity == 0.5
    dense = network(input_ids=windows).logits
    with pruning.applied(prunable):
        assert not torch.allclose(network(input_ids=windows).logits, dense)
    assert torch.equal(network(input_ids=windows).logits, dense)


@pytest.mark.parametrize("family", [*FAMILIES, *EXPERTS])
def test_every_family_is_loaded_from_its_folder(family: str, tmp_path: Path, windows: Tensor) -> None:
    network = build(*(FAMILIES | EXPERTS)[family][:2])
    network.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    model = load(str(tmp_path))
    assert [each.name for each in model.prunable.layers] == [
        each.name for each in find_prunable_layers(network).layers
    ]
    assert torch.equal(model.network(input_ids=windows).logits, network(input_ids=windows).logits)
