"""Mixtures of experts: opened, pruned by the tokens routed to them, refused where they cannot be."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.support.architectures import EXPERTS, HEADS, LLAMA, build
from tests.support.models import assert_untouched, snapshot
from wanda_core import Recipe, Refused, find_prunable_layers
from wanda_core.method.masks import structured_mask, unstructured_mask
from wanda_core.models.experts import PROJECTIONS
from wanda_core.models.experts import forward as experts_forward
from wanda_core.models.prunable_layers import ExpertLayer
from wanda_core.pruning.decide_layer import NO_TOKEN
from wanda_core.pruning.prune_model import prune

SCHEDULES = ["layer", "block", "dense"]


@pytest.fixture
def windows() -> Tensor:
    return torch.randint(3, 99, (4, 24), generator=torch.Generator().manual_seed(1))


def _routed(module: nn.Module, hidden: Tensor, index: Tensor, expert: int) -> tuple[Tensor, Tensor]:
    """What one expert's two matrices are given, in float64: token by token."""
    rows = torch.stack([hidden[t] for t in range(len(hidden)) if expert in index[t]]).double()
    gate, up = (rows @ module.gate_up_proj[expert].double().t()).chunk(2, dim=-1)
    return rows, module.act_fn(gate) * up


@pytest.mark.parametrize("family", EXPERTS)
def test_opened_experts_compute_what_the_module_does(family: str) -> None:
    network = build(*EXPERTS[family])
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
    network = build(*EXPERTS[family])
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
    network = build(*EXPERTS[family])
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
    network = build(config, arguments | {"num_local_experts": 64, "num_experts_per_tok": 1})
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
        find_prunable_layers(build("GptOssConfig", arguments))


class Bank(nn.Module):
    """Experts of some library."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.zeros(4, 32, 32))


def test_other_3d_parameters_are_refused_by_name() -> None:
    network = build("LlamaConfig", LLAMA)
    network.model.layers[1].mlp = Bank()
    with pytest.raises(Refused, match=r"model\.layers\.1\.mlp \(Bank\) cannot be pruned: it holds a 3-D"):
        find_prunable_layers(network)
