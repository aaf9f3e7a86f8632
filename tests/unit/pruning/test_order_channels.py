"""Pruning under an order of the channels: what is kept, what the result is, and that the model is left dense."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.models import assert_untouched, snapshot, tiny
from wanda_core import Recipe, Refused, Stopped, find_prunable_layers
from wanda_core.method.masks import structured_mask
from wanda_core.method.pattern import Pattern
from wanda_core.method.recipe import SCHEDULES
from wanda_core.models.channel_order import ChannelOrder
from wanda_core.models.prunable_layers import Layer, PrunableModel
from wanda_core.pruning import memory_needed, order_channels
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.pruning.order_channels import KINDS, find_order
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

TWO_FOUR = Pattern(2, 4)
METHODS = ["magnitude", "wanda", "ria", "random", "sparsegpt", "admm", "wanda+admm"]


@pytest.fixture
def norms(llama: PrunableModel, tokens: Tensor) -> dict[Layer, Tensor]:
    return {layer: s.norms() for layer, s in collect_statistics(llama, tokens).statistics.items()}


def kept(norms: dict[Layer, Tensor], order: ChannelOrder) -> dict[str, float]:
    """What 2:4 keeps of the Wanda score, as a share, by kind of layer and summed over blocks."""
    sums: dict[str, float] = {}
    for layer, norm in norms.items():
        score = (layer.weight.abs() * norm)[:, order.columns(layer.name)]
        share = (score * structured_mask(score, 2, 4)).sum() / score.sum()
        sums[layer.kind] = sums.get(layer.kind, 0.0) + float(share) * len(score)
    return sums


def ordered(prunable: PrunableModel, tokens: Tensor, **recipe: Any) -> Pruning:
    return prune(prunable, tokens, Recipe(pattern="2:4", order="channels", **recipe))


@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in KINDS), KINDS])
def test_no_kind_of_order_keeps_less_and_each_keeps_more_where_it_reaches(
    kinds: tuple[str, ...], llama: PrunableModel, norms: dict[Layer, Tensor]
) -> None:
    before, after = (kept(norms, find_order(llama, norms, TWO_FOUR, each)) for each in ((), kinds))
    reached = {"residual": {"q", "k", "v", "gate", "up"}, "mlp": {"down"}, "values": {"o"}}
    for kind in kinds:
        layers = [name for name in before if name.split(".")[1].removesuffix("_proj") in reached[kind]]
        assert sum(after[name] for name in layers) > sum(before[name] for name in layers)
    others = {name for name in before if name.split(".")[1].removesuffix("_proj") not in
              set().union(*(reached[kind] for kind in kinds))}  # fmt: skip
    assert all(after[name] == before[name] for name in others)


def test_where_nothing_is_better_the_channels_stay(
    llama: PrunableModel, norms: dict[Layer, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst of many orders in place of the search."""

    def worst(scores: Tensor, pattern: Pattern) -> Tensor:
        return scores.sum(dim=0).argsort()  # like beside like: the loud compete with the loud

    monkeypatch.setattr(order_channels, "order_columns", worst)
    found = find_order(llama, norms, TWO_FOUR)
    still = find_order(llama, norms, TWO_FOUR, ())
    before, after = kept(norms, still), kept(norms, found)
    readers = [name for name in before if name.split(".")[1] not in ("o_proj", "down_proj")]
    assert sum(after[name] for name in readers) >= sum(before[name] for name in readers) - 1e-3
    assert all(after[name] >= before[name] - 1e-3 for name in before if name not in readers)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_masks_lie_on_consecutive_channels_of_the_ordered_model(
    method: str, schedule: str, tokens: Tensor
) -> None:
    network = tiny("llama")
    prunable, before = find_prunable_layers(network), snapshot(network)
    found = ordered(prunable, tokens, method=method, schedule=schedule)
    assert_untouched(network, before)
    assert found.sparsity == 0.5
    assert found.order is not None
    assert not torch.equal(found.order.residual, torch.arange(32))
    with found.applied(prunable):
        weights = {layer.name: layer.parameter.clone() for layer in prunable.layers}
    for layer in prunable.layers:
        mask = found.masks[layer.name].unpack()
        assert (mask.reshape(-1, 4).sum(dim=1) == 2).all()
        assert torch.equal(weights[layer.name] != 0, mask)
        if method in ("magnitude", "wanda", "ria", "random"):
            assert torch.equal(weights[layer.name], found.order.put(layer.name, layer.weight) * mask)
        else:
            assert not torch.equal(weights[layer.name], found.order.put(layer.name, layer.weight) * mask)
    assert_untouched(network, before)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "admm", "wanda+admm"])
def test_it_is_what_pruning_the_ordered_model_gives(method: str, tokens: Tensor) -> None:
    """A copy whose very parameters were put in order, pruned without one: independent of how columns are put back."""
    network, copy = tiny("llama"), tiny("llama")
    prunable = find_prunable_layers(network)
    found = ordered(prunable, tokens, method=method)
    assert found.order is not None
    for layer in (copied := find_prunable_layers(copy)).layers:
        layer.parameter.data = found.order.put(layer.name, layer.weight).contiguous()
    for part, make in list(found.order.others(copied)):
        part.parameter.data = make()
    again = find_prunable_layers(copy)
    plain = prune(again, tokens, Recipe(pattern="2:4", method=method))
    differing = sum(
        int((found.masks[name].unpack() != plain.masks[name].unpack()).sum()) for name in plain.masks
    )
    assert differing <= 0.002 * sum(layer.weight.numel() for layer in again.layers)  # ties of rounding
    assert all(torch.allclose(found.norms[n], plain.norms[n], rtol=2e-2) for n in plain.norms)
    with torch.no_grad(), found.applied(prunable), plain.applied(again):
        one, other = (each(input_ids=tokens).logits for each in (network, copy))
        assert (one - other).abs().max() < 0.02 * other.abs().max()


def test_recovered_values_and_norms_are_in_order(tokens: Tensor) -> None:
    """What recovery trained computes the same ordered as not: its error of the last block is measured anew."""
    network = tiny("llama")
    prunable, before = find_prunable_layers(network), snapshot(network)
    found = ordered(prunable, tokens, recovery="blocks")
    plain = ordered(prunable, tokens)
    assert_untouched(network, before)
    norms = [norm for norm in prunable.norms if norm.name in found.changed]
    assert norms
    with torch.no_grad():
        dense = network(input_ids=tokens).logits
        with found.applied(prunable):
            recovered = network(input_ids=tokens).logits
        with plain.applied(prunable):
            pruned = network(input_ids=tokens).logits
    assert (recovered - dense).norm() < 0.97 * (pruned - dense).norm()
    assert_untouched(network, before)
    for norm in norms:  # trained a little: still closest to the dense values in order
        assert found.order is not None
        wanted = found.order.put_norm(norm.name, norm.stored)
        assert (found.changed.get(norm.name) - wanted).abs().max() < 0.1


@pytest.mark.parametrize("after", [1, 30, 60, 63, 66, 90])
def test_stop_at_any_moment_leaves_the_model_dense(after: int, tokens: Tensor) -> None:
    """Dense pass, search and walk tell in turn."""
    network = tiny("llama")
    prunable, before = find_prunable_layers(network), snapshot(network)
    stop, seen = threading.Event(), []

    def tell(share: float, where: str) -> None:
        seen.append((share, where))
        if len(seen) == after:
            stop.set()

    with pytest.raises(Stopped):
        prune(
            prunable,
            tokens,
            Recipe(pattern="2:4", order="channels"),
            micro_batch=1,
            on_progress=tell,
            stop=stop,
        )
    assert_untouched(network, before)


class AfterChecks(threading.Event):
    """Set once it was asked so many times."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self.left = checks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("checks", [0, 10, 22, 24])
def test_stop_while_the_ordered_weights_are_put_in(checks: int, llama: PrunableModel, tokens: Tensor) -> None:
    """21 layers, then embeddings, norms and head."""
    before = snapshot(llama.network)
    found = ordered(llama, tokens)
    with pytest.raises(Stopped), found.applied(llama, AfterChecks(checks)):
        raise AssertionError("not reached")
    assert_untouched(llama.network, before)


def test_a_failure_while_it_computes_leaves_the_model_dense(llama: PrunableModel, tokens: Tensor) -> None:
    before = snapshot(llama.network)
    found, embeddings = ordered(llama, tokens), []

    def fail() -> None:
        embeddings.append(llama.network.get_input_embeddings().weight.clone())
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), found.applied(llama):
        fail()
    assert not torch.equal(embeddings[0], before["model.embed_tokens.weight"])
    assert_untouched(llama.network, before)


def test_progress_goes_up_and_names_the_search(llama: PrunableModel, tokens: Tensor) -> None:
    seen: list[tuple[float, str]] = []
    prune(llama, tokens, Recipe(pattern="2:4", order="channels"), on_progress=lambda *each: seen.append(each))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] == pytest.approx(1)
    assert "order of block 2" in {where for _, where in seen}


def test_statistics_and_orders_made_before_serve(llama: PrunableModel, tokens: Tensor) -> None:
    first = ordered(llama, tokens, schedule="dense")
    again = prune(llama, tokens, first.recipe, gathered=collect_statistics(llama, tokens), order=first.order)
    assert all((first.masks[n].bits == again.masks[n].bits).all() for n in first.masks)
    assert "order" in first.seconds
    assert "order" not in again.seconds


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "3:6"])
def test_any_pattern(pattern: str, tokens: Tensor) -> None:
    """3:6 does not divide a head of 8 values, and 4:8 takes it whole: these stay in their order."""
    torch.manual_seed(0)
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(vocab_size=257, hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                         num_attention_heads=6, num_key_value_heads=2)  # fmt: skip
    prunable = find_prunable_layers(AutoModelForCausalLM.from_config(config).eval().requires_grad_(False))
    found = prune(prunable, tokens, Recipe(pattern=pattern, order="channels"))
    keep, among = map(int, pattern.split(":"))
    assert found.order is not None
    assert all(torch.equal(v, torch.arange(8).repeat(2, 1)) for v in found.order.values) == (
        pattern in ("3:6", "4:8")
    )
    for layer in prunable.layers:
        assert (found.masks[layer.name].unpack().reshape(-1, among).sum(dim=1) == keep).all()


def test_families_without_a_fold_are_refused_before_anything_runs(tokens: Tensor) -> None:
    for family in ("opt", "gpt2"):
        told: list[str] = []
        with pytest.raises(Refused, match=f"{family} model is not known, choose none"):
            prune(find_prunable_layers(tiny(family)), tokens, Recipe(pattern="2:4", order="channels"),
                  on_progress=lambda _, where, told=told: told.append(where))  # fmt: skip
        assert told == []


def test_unstructured_ratios_have_no_order() -> None:
    with pytest.raises(Refused, match="order needs an N:M pattern, such as 2:4: without one"):
        Recipe(sparsity=0.5, order="channels")
    with pytest.raises(Refused, match="order must be one of none, channels"):
        Recipe(pattern="2:4", order="best")


def test_what_an_order_needs_is_counted_and_refused(
    llama: PrunableModel, tokens: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = memory_needed.order_bytes(llama)
    copies = sum(make().nbytes for _, make in find_order(llama, {}, TWO_FOUR, ()).others(llama))
    assert needed - memory_needed.LIBRARIES >= copies
    walk = memory_needed.walk_bytes(llama, 8, 24, 8, "layer")
    assert needed > walk  # for a model as small as this, so that one figure parts them
    monkeypatch.setattr(memory_needed, "free_bytes", lambda device: (needed + walk) // 2)
    prune(llama, tokens, Recipe(pattern="2:4"))
    with pytest.raises(Refused, match=r"order needs .* are free: choose none"):
        ordered(llama, tokens)
