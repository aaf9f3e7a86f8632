"""Parked forwards: the same masks however the text is split, and a model that is left as it was found."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.support.models import CONFIGS, assert_untouched, snapshot, tiny
from tests.support.paper import wanda_masks
from wanda_core import Recipe, Refused, Stopped, find_prunable_layers
from wanda_core.method.recipe import SCHEDULES
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.parked_forward import ParkedForward
from wanda_core.pruning.prune_model import prune

NEAR_TIES = 2
"""Weights of a model that may differ: sums in another order can swap two of nearly equal scores."""
SLOW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def masks_of(
    prunable: PrunableModel, tokens: Tensor, schedule: str, micro_batch: int | None = None
) -> dict[str, Tensor]:
    pruning = prune(prunable, tokens, Recipe(schedule=schedule), micro_batch=micro_batch)
    return {name: mask.unpack() for name, mask in pruning.masks.items()}


def differences(some: dict[str, Tensor], others: dict[str, Tensor]) -> int:
    assert some.keys() == others.keys()
    return sum(int((some[name] != others[name]).sum()) for name in some)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_masks_do_not_depend_on_the_micro_batch(
    prunable: PrunableModel, tokens: Tensor, schedule: str
) -> None:
    whole = masks_of(prunable, tokens, schedule, len(tokens))
    assert len(whole) == len(prunable.layers)
    for micro_batch in (1, 2, 3, 4):
        assert differences(masks_of(prunable, tokens, schedule, micro_batch), whole) <= NEAR_TIES


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_masks_are_those_of_a_model_pruned_step_by_step(
    network: PreTrainedModel, tokens: Tensor, schedule: str
) -> None:
    expected = wanda_masks(network, tokens, 0.5, schedule)
    assert differences(masks_of(find_prunable_layers(network), tokens, schedule, 2), expected) <= NEAR_TIES


def test_schedules_differ(llama: PrunableModel, tokens: Tensor) -> None:
    layer, block, dense = (masks_of(llama, tokens, schedule) for schedule in ("layer", "block", "dense"))
    assert (
        min(differences(layer, block), differences(block, dense), differences(layer, dense)) > 10 * NEAR_TIES
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_dense_weights_survive_success(network: PreTrainedModel, tokens: Tensor, schedule: str) -> None:
    before = snapshot(network)
    masks_of(find_prunable_layers(network), tokens, schedule, 2)
    assert_untouched(network, before)


@SLOW
@given(
    family=st.sampled_from(list(CONFIGS)),
    schedule=st.sampled_from(SCHEDULES),
    place=st.floats(
        0, 0.97
    ),  # the last of GPT-2's 48 steps begins at 0.979; after it there is nothing to stop
)
def test_stop_anywhere_leaves_the_model_dense(
    family: str, schedule: str, place: float, tokens: Tensor
) -> None:
    network = tiny(family)
    before = snapshot(network)
    stop = threading.Event()

    def stop_at(share: float, _: str) -> None:
        if share >= place:
            stop.set()

    with pytest.raises(Stopped):
        prune(
            find_prunable_layers(network),
            tokens,
            Recipe(schedule=schedule),
            micro_batch=2,
            on_progress=stop_at,
            stop=stop,
        )
    assert_untouched(network, before)


@SLOW
@given(family=st.sampled_from(list(CONFIGS)), schedule=st.sampled_from(SCHEDULES), share=st.floats(0, 0.999))
def test_failure_at_any_decision_leaves_the_model_dense(
    family: str, schedule: str, share: float, tokens: Tensor
) -> None:
    network = tiny(family)
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    decided = []

    def decide(layer, _statistics) -> Tensor:
        if len(decided) == int(share * len(prunable.layers)):
            raise ZeroDivisionError
        decided.append(layer)
        return torch.zeros_like(layer.weight)

    with pytest.raises(ZeroDivisionError):
        ParkedForward(prunable, tokens, decide, micro_batch=2, schedule=schedule).run()
    assert_untouched(network, before)


@SLOW
@given(
    family=st.sampled_from(list(CONFIGS)),
    schedule=st.sampled_from(SCHEDULES),
    index=st.integers(0, 11),
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
)
def test_nan_in_a_weight_is_named(
    family: str, schedule: str, index: int, value: float, tokens: Tensor
) -> None:
    network = tiny(family)
    layer = find_prunable_layers(network).layers[index]
    layer.stored[3, 5] = value
    before = snapshot(network)
    # Whatever comes after a NaN in a forward holds NaN as well: the layer named must be where it starts.
    with pytest.raises(Refused, match=rf"weights of {layer.name} hold NaN"):
        prune(find_prunable_layers(network), tokens, Recipe(schedule=schedule))
    assert_untouched(network, before)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("method", ["wanda", "magnitude"])
def test_nan_in_the_activations_names_the_layer(schedule: str, method: str, tokens: Tensor) -> None:
    network = tiny("llama")
    network.model.layers[1].post_attention_layernorm.weight[7] = torch.nan
    before = snapshot(network)
    with pytest.raises(Refused, match=r"input of model.layers.1.mlp.gate_proj holds NaN"):
        prune(find_prunable_layers(network), tokens, Recipe(method=method, schedule=schedule))
    assert_untouched(network, before)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("micro_batch", [2, 8])
def test_a_layer_called_twice_is_refused_by_name(schedule: str, micro_batch: int, tokens: Tensor) -> None:
    network = tiny("llama")
    mlp = network.model.layers[1].mlp
    once = mlp.forward
    mlp.forward = lambda hidden: once(once(hidden))
    before = snapshot(network)
    with pytest.raises(Refused, match=r"model.layers.1.mlp.gate_proj is called more than once"):
        prune(find_prunable_layers(network), tokens, Recipe(schedule=schedule), micro_batch=micro_batch)
    assert_untouched(network, before)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_layer_never_called_is_reported_and_not_counted(schedule: str, tokens: Tensor) -> None:
    network = tiny("llama")
    network.model.layers[1].idle = nn.Linear(32, 32).requires_grad_(False)
    pruning = prune(find_prunable_layers(network), tokens, Recipe(schedule=schedule))
    assert pruning.uncalled == ["model.layers.1.idle"]
    assert "model.layers.1.idle" not in pruning.masks
    assert pruning.sparsity == 0.5
    assert [report.name for report in pruning.reports].count("model.layers.1.idle") == 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_texts_that_take_another_way_are_refused(schedule: str, tokens: Tensor) -> None:
    network = tiny("llama")
    mlp = network.model.layers[1].mlp
    plain = mlp.forward
    texts = []

    def skip_one(hidden: Tensor) -> Tensor:
        texts.append(hidden)
        return hidden if len(texts) == 2 else plain(hidden)

    mlp.forward = skip_one
    before = snapshot(network)
    with pytest.raises(Refused, match=r"model\.layers\.1\.mlp\.gate_proj is called for some|different paths"):
        prune(find_prunable_layers(network), tokens, Recipe(schedule=schedule), micro_batch=2)
    assert_untouched(network, before)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_progress_rises_to_one(prunable: PrunableModel, tokens: Tensor, schedule: str) -> None:
    seen: list[tuple[float, str]] = []
    prune(prunable, tokens, Recipe(schedule=schedule), micro_batch=3, on_progress=lambda *at: seen.append(at))
    shares = [share for share, _ in seen]
    assert 0 < shares[0] < 0.1
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {name for _, name in seen} == {layer.name for layer in prunable.layers}


def test_later_layers_see_pruned_inputs_and_the_forward_goes_on_pruned(
    llama: PrunableModel, tokens: Tensor
) -> None:
    """All weights gone from block 0 on: its down projection must see exact zeros."""
    largest = {}

    def decide(layer, statistics) -> Tensor:
        largest[layer.name] = float(statistics.norms().max())
        return torch.zeros_like(layer.weight)

    ParkedForward(llama, tokens, decide, micro_batch=2, schedule="layer").run()
    assert largest["model.layers.0.self_attn.q_proj"] > 0
    assert largest["model.layers.0.self_attn.o_proj"] == 0
    assert largest["model.layers.0.mlp.down_proj"] == 0
    assert largest["model.layers.1.self_attn.q_proj"] > 0
