"""How much each layer gives: OWL against a derivation of its own, and explicit ratios."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.models import tiny
from wanda_core import Recipe, Refused, find_prunable_layers
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.allocation import owl_densities, shortfall, sparsities_of
from wanda_core.pruning.prune_model import prune


def _wide_scores(network: nn.Module, prunable: PrunableModel, tokens: Tensor) -> list[np.ndarray]:
    """For every block the Wanda scores of all its weights in one row, from one plain forward of the dense model."""
    norms: dict[str, Tensor] = {}
    hooks = [
        layer.module.register_forward_pre_hook(
            lambda _, args, name=layer.name: norms.update({name: args[0].double().flatten(0, -2).norm(dim=0)})
        )
        for layer in prunable.layers
    ]
    network(input_ids=tokens)
    for hook in hooks:
        hook.remove()
    return [
        np.concatenate(
            [
                (layer.weight.double().abs() * norms[layer.name]).numpy().ravel()
                for layer in prunable.layers
                if layer.block == index
            ]
        )
        for index in range(len(prunable.blocks))
    ]


def test_owl_gives_as_published(tokens: Tensor) -> None:
    network = tiny("llama")
    with torch.no_grad():  # outliers in two of the blocks
        network.model.layers[0].mlp.down_proj.weight[:3] *= 30
        network.model.layers[2].self_attn.q_proj.weight[:9] *= 40
    prunable = find_prunable_layers(network)
    shares = [100 * float((s > 5 * s.mean()).mean()) for s in _wide_scores(network, prunable, tokens)]
    assert len(set(shares)) == 3
    ratios = np.array(shares)
    ratios = (ratios - ratios.min()) * (1 / (ratios.max() - ratios.min()) * 0.08 * 2)
    densities = ratios - ratios.mean() + (1 - 0.7)
    pruning = prune(prunable, tokens, Recipe(sparsity=0.7, allocation="owl"))
    for report, layer in zip(
        sorted(pruning.reports, key=lambda r: r.name),
        sorted(prunable.layers, key=lambda x: x.name),
        strict=True,
    ):
        columns = layer.weight.shape[1]
        assert report.pruned == layer.weight.shape[0] * int(columns * (1 - densities[report.block]))
    reached = [next(r.sparsity for r in pruning.reports if r.block == i) for i in range(3)]
    assert np.argsort(reached).tolist() == np.argsort(shares)[::-1].tolist()


def test_owl_densities_keep_their_mean_and_span() -> None:
    densities = owl_densities(torch.tensor([0.01, 0.03, 0.02, 0.09], dtype=torch.float64), 0.3)
    assert float(densities.mean()) == pytest.approx(0.3)
    assert float(densities.max() - densities.min()) == pytest.approx(0.16)
    assert densities.argsort().tolist() == [0, 2, 1, 3]


def test_owl_without_outliers_is_uniform() -> None:
    assert owl_densities(torch.zeros(4, dtype=torch.float64), 0.3).tolist() == [0.3] * 4


@pytest.mark.parametrize("density", [0.0, 0.02, 1.0])
def test_owl_densities_stay_possible(density: float) -> None:
    densities = owl_densities(torch.tensor([0.0, 1.0, 0.2], dtype=torch.float64), density)
    assert densities.min() >= 0
    assert densities.max() <= 1


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_explicit_ratios(method: str, llama: PrunableModel, tokens: Tensor) -> None:
    recipe = Recipe(method=method, sparsity=0.5, allocation="0=0.25, 2=0, model.layers.0.mlp.down_proj=0.75")
    reached = {report.name: report.sparsity for report in prune(llama, tokens, recipe).reports}
    for name, sparsity in reached.items():
        expected = {"0": 0.25, "1": 0.5, "2": 0.0}[name.split(".")[2]]
        assert sparsity == (0.75 if name == "model.layers.0.mlp.down_proj" else expected), name


def test_an_allocation_survives_json_and_hashing() -> None:
    recipe = Recipe(allocation="0=0.25,1=0.5")
    again = Recipe(**json.loads(json.dumps(recipe.as_dict())))
    assert again == recipe
    assert hash(again) == hash(recipe)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "even",
        "0",
        "0=",
        "0=a",
        "=0.5",
        "0=1.5",
        "0=-0.1",
        "0=nan",
        "0=0.1,",
        "0=0.5,0=0.5",
        None,
        "linear",
        "linear:",
        "linear:0",
        "linear:-0.1",
        "linear:nan",
        "linear:inf",
        "owl:1",
        "linear:0.1:2",
    ],
)
def test_bad_allocations_are_refused(text: str | None) -> None:
    with pytest.raises(Refused, match="allocation"):
        Recipe(allocation=text)


@pytest.mark.parametrize("name", ["3", "-1", "model.layers.0", "lm_head"])
def test_unknown_places_are_refused_before_anything_runs(
    name: str, llama: PrunableModel, tokens: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model ran")

    monkeypatch.setattr(llama.decoder, "forward", never)
    with pytest.raises(Refused, match=f"no block or prunable layer `{name}`"):
        prune(llama, tokens, Recipe(allocation=f"{name}=0.5"))


@pytest.mark.parametrize("allocation", ["owl", "0=0.5", "linear:0.01"])
def test_patterns_fix_the_allocation(allocation: str) -> None:
    with pytest.raises(Refused, match="does not apply to N:M"):
        Recipe(pattern="2:4", allocation=allocation)


def test_progress_covers_both_walks(llama: PrunableModel, tokens: Tensor) -> None:
    seen: list[float] = []
    on_progress: Callable[[float, str], None] = lambda share, _: seen.append(share)  # noqa: E731
    prune(llama, tokens, Recipe(allocation="owl"), on_progress=on_progress)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert any(0.4 < share < 0.6 for share in seen)


def test_holes_and_a_missed_mean_are_said(llama: PrunableModel) -> None:
    def said(allocation: str) -> str:
        return shortfall(llama, Recipe(sparsity=0.5, allocation=allocation))

    assert said("uniform") == ""
    assert said("0=0.4,1=0.5,2=0.6") == ""
    assert said("0=0.4,2=0.6") == "block 1 has no ratio and gets 50.0%"
    assert (
        said("0=0.8")
        == "blocks 1, 2 have no ratio and get 50.0%; the mean over all weights is 60.0%, not 50.0%"
    )
    with pytest.raises(Refused, match="no block or prunable layer `3`"):
        said("3=0.5")


def test_linear_gives_as_published(llama: PrunableModel, tokens: Tensor) -> None:
    """`s_i = S - BETA (L - 1) / 2 + BETA (i - 1)` of L = 3 blocks: 0.4, 0.5 and 0.6 with BETA 0.1."""
    reports = prune(llama, tokens, Recipe(sparsity=0.5, allocation="linear:0.1")).reports
    for report in reports:
        columns = next(layer.weight.shape[1] for layer in llama.layers if layer.name == report.name)
        expected = int(columns * (0.4, 0.5, 0.6)[report.block] + 1e-9) / columns
        assert report.sparsity == pytest.approx(expected), report.name


@pytest.mark.parametrize(("sparsity", "most"), [(0.5, 0.5), (0.3, 0.3), (0.9, 0.1)])
def test_beta_has_a_range(sparsity: float, most: float, llama: PrunableModel) -> None:
    """`min(2 S, 2 (1 - S)) / (L - 1)`, of three blocks."""
    ends = sparsities_of(llama, Recipe(sparsity=sparsity, allocation=f"linear:{most}"))
    assert min(ends.values()) == pytest.approx(max(0.0, sparsity - most))
    assert 0 <= min(ends.values()) <= max(ends.values()) <= 1
    with pytest.raises(Refused, match=f"above 0 and up to {most:g} for 3 blocks at {sparsity:g}"):
        sparsities_of(llama, Recipe(sparsity=sparsity, allocation=f"linear:{most + 0.001}"))


def test_one_spelling_names_one_point() -> None:
    assert Recipe(allocation="linear:0.0100") == Recipe(allocation=" linear:1e-2")
