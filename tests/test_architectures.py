"""Every family of models: each linear layer found, pruned by its own inputs, and the model left as it was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tests.conftest import assert_untouched, byte_tokenizer, snapshot
from wanda_core import Recipe, Refused, find_prunable_layers, load
from wanda_core.method.masks import structured_mask, unstructured_mask
from wanda_core.models.experts import PROJECTIONS
from wanda_core.models.experts import forward as experts_forward
from wanda_core.models.prunable_layers import ExpertLayer
from wanda_core.pruning.decide_layer import NO_TOKEN
from wanda_core.pruning.prune_model import prune

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS = {"head_dim": 8}
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
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
EXPERTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("MixtralConfig", LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "olmoe": ("OlmoeConfig", LLAMA | {"num_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": ("Qwen3MoeConfig", LLAMA | HEADS | MOE),
}
SCHEDULES = ["layer", "block", "dense"]


def _build(config: str, arguments: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    made = getattr(transformers, config)(vocab_size=99, **arguments)
    network = AutoModelForCausalLM.from_config(made).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if weight.dim() == 1 and "norm" in name:
            weight.mul_(torch.rand_like(weight) * 2 + 0.1)
    return network


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
    network = _build(config, arguments)
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
    network = _build(config, arguments)
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
    network = _build(*(FAMILIES | EXPERTS)[family][:2])
    network.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    model = load(str(tmp_path))
    assert [each.name for each in model.prunable.layers] == [
        each.name for each in find_prunable_layers(network).layers
    ]
    assert torch.equal(model.network(input_ids=windows).logits, network(input_ids=windows).logits)


def _routed(module: nn.Module, hidden: Tensor, index: Tensor, expert: int) -> tuple[Tensor, Tensor]:
    """What one expert's two matrices are given, in float64: token by token."""
    rows = torch.stack([hidden[t] for t in range(len(hidden)) if expert in index[t]]).double()
    gate, up = (rows @ module.gate_up_proj[expert].double().t()).chunk(2, dim=-1)
    return rows, module.act_fn(gate) * up


@pytest.mark.parametrize("family", EXPERTS)
def test_opened_experts_compute_what_the_module_does(family: str) -> None:
    network = _build(*EXPERTS[family])
    module = find_prunable_layers(network).layers[-1].module
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(30, 32, generator=draw)
    index = torch.stack([torch.randperm(3, generator=draw)[:2] for _ in range(30)])  # expert 3 sees no token
    weights = torch.rand(30, 2, generator=draw)

    def project(projection: str, inputs: dict[int, Tensor]) -> dict[int, Tensor]:
        assert sorted(inputs) == [0, 1, 2]
        return {e: rows @ getattr(module, projection)[e].t() for e, rows in inputs.items()}

    opened = experts_forward(module, hidden, index, weights, project)
    torch.testing.assert_close(opened, module(hidden, index, weights), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("family", EXPERTS)
def test_experts_are_pruned_by_the_tokens_routed_to_them(
    family: str, schedule: str, pattern: str, windows: Tensor
) -> None:
    network = _build(*EXPERTS[family])
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    experts = [layer for layer in prunable.layers if isinstance(layer, ExpertLayer) and layer.block == 0]
    assert [layer.expert for layer in experts] == [0, 1, 2, 3] * 2
    others = [layer for layer in prunable.layers if not isinstance(layer, ExpertLayer)]
    assert len(others) == 2 * 4  # attention; no router
    pruning = prune(prunable, windows, Recipe(pattern=pattern, schedule=schedule), micro_batch=3)
    assert_untouched(network, before)
    assert not any(vars(m).get("forward") for m in network.modules())

    # What the first block's experts are given, with the attention as the schedule has it by then.
    module, seen = experts[0].module, []
    hook = module.register_forward_pre_hook(lambda _, args: seen.append(args))
    if schedule == "layer":
        for layer in others[:4]:
            layer.point_at(pruning.weight(layer))
    network(input_ids=windows)
    hook.remove()
    prunable.restore()
    hidden, index, _ = seen[0]
    differing = 0
    for layer in experts:
        if layer.projection == PROJECTIONS[1] and schedule == "layer":
            gate_up = next(x for x in experts if x.expert == layer.expert)
            gate_up.point_at(pruning.weight(gate_up))
        inputs = _routed(module, hidden, index, layer.expert)[PROJECTIONS.index(layer.projection)]
        prunable.restore()
        scores = (layer.weight.double().abs() * inputs.norm(dim=0)).float()
        mask = (
            unstructured_mask(scores, 0.5, "output")
            if pattern == "unstructured"
            else structured_mask(scores, 2, 4)
        )
        differing += int((pruning.masks[layer.name].unpack() != mask).sum())
    assert differing <= 2e-3 * sum(layer.weight.numel() for layer in experts)
    assert {report.note for report in pruning.reports} == {""}


@pytest.mark.parametrize("family", EXPERTS)
def test_pruned_experts_are_computed_with(family: str, windows: Tensor) -> None:
    network = _build(*EXPERTS[family])
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, windows, Recipe(method="magnitude"))
    by_hand = copy.deepcopy(network)
    parameters = dict(by_hand.named_parameters())
    for layer in prunable.layers:
        if isinstance(layer, ExpertLayer):
            holder = layer.name.removesuffix(f".{layer.expert}.{layer.projection}")
            parameters[f"{holder}.{layer.projection}"][layer.expert] *= pruning.masks[layer.name].unpack()
        else:
            parameters[f"{layer.name}.weight"] *= pruning.masks[layer.name].unpack()
    with pruning.applied(prunable):
        assert torch.equal(network(input_ids=windows).logits, by_hand(input_ids=windows).logits)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "wanda+admm"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_expert_without_tokens_falls_back_and_says_so(method: str, schedule: str, windows: Tensor) -> None:
    config, arguments = EXPERTS["mixtral"]
    network = _build(config, arguments | {"num_local_experts": 64, "num_experts_per_tok": 1})
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, windows[:1, :6], Recipe(method=method, schedule=schedule))
    fallen = {report.name for report in pruning.reports if report.note == NO_TOKEN}
    assert 2 * 58 * 2 <= len(fallen) < 2 * 64 * 2
    for layer in prunable.layers:
        if layer.name in fallen:
            expected = unstructured_mask(layer.weight.abs(), 0.5, "output")
            assert torch.equal(pruning.masks[layer.name].unpack(), expected)
            assert torch.equal(pruning.weight(layer), layer.weight * expected)


def test_transposed_experts_are_refused_by_name() -> None:
    arguments = LLAMA | HEADS | {"num_local_experts": 4, "num_experts_per_tok": 2}
    with pytest.raises(Refused, match=r"model\.layers\.0\.mlp\.experts \(GptOssExperts\) .*: .*transposed"):
        find_prunable_layers(_build("GptOssConfig", arguments))


class Bank(nn.Module):
    """Experts of some library."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.zeros(4, 32, 32))


def test_other_3d_parameters_are_refused_by_name() -> None:
    network = _build("LlamaConfig", LLAMA)
    network.model.layers[1].mlp = Bank()
    with pytest.raises(Refused, match=r"model\.layers\.1\.mlp \(Bank\) cannot be pruned: it holds a 3-D"):
        find_prunable_layers(network)
