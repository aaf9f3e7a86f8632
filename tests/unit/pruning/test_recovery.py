"""Recovery of a block: zeros stay zero, the output comes closer to the dense model's, and the model is left dense."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from tests.support.architectures import EXPERTS, build
from tests.support.models import CONFIGS, assert_untouched, snapshot, tiny
from tests.unit.pruning.test_architectures import FAMILIES
from wanda_core import Recipe, Refused, Stopped, find_prunable_layers
from wanda_core.method.recipe import SCHEDULES
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning import recovery
from wanda_core.pruning.decide_layer import LayerPruner
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.pruning.dense_stream import hidden_of
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

SLOW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random experts are worse off where a step moves their router's choices."""
    monkeypatch.setattr(recovery, "RATE", 5e-4)


@pytest.fixture
def windows() -> Tensor:
    return torch.randint(3, 99, (8, 24), generator=torch.Generator().manual_seed(1))


def _recovered(prunable: PrunableModel, windows: Tensor, micro_batch: int = 2, **recipe: Any) -> Pruning:
    return prune(prunable, windows, Recipe(recovery="blocks", **recipe), micro_batch=micro_batch)


def _assert_dense(network: PreTrainedModel, before: dict[str, Tensor]) -> None:
    assert_untouched(network, before)
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in network.parameters()
    )
    assert not any("forward" in vars(module) for module in network.modules())
    assert torch.is_grad_enabled()


def _block_outputs(network: PreTrainedModel, windows: Tensor) -> list[Tensor]:
    """What every block returns, by plain hooks on the model as it computes now."""
    blocks = find_prunable_layers(network).blocks
    outputs: list[Tensor] = []
    hooks = [b.register_forward_hook(lambda _m, _a, out: outputs.append(hidden_of(out))) for b in blocks]
    with torch.no_grad():
        network(input_ids=windows, use_cache=False)
    for hook in hooks:
        hook.remove()
    return outputs


def _error(outputs: Tensor, targets: Tensor) -> float:
    """Mean over tokens of the squared distance by the target's squared norm, token by token in float64."""
    pairs = zip(outputs.double().flatten(0, -2), targets.double().flatten(0, -2), strict=True)
    shares = [float((one - other).dot(one - other) / other.dot(other)) for one, other in pairs]
    return sum(shares) / len(shares)


@pytest.mark.parametrize("family", [*FAMILIES, *EXPERTS])
def test_every_family_recovers_with_its_zeros(
    family: str, windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(*(FAMILIES | EXPERTS)[family][:2])
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    decided: dict[str, bytes] = {}
    decide = LayerPruner.__call__

    def note(self: LayerPruner, layer: Any, statistics: Any) -> Tensor:
        weight = decide(self, layer, statistics)
        decided[layer.name] = self.result.masks[layer.name].bits.tobytes()
        return weight

    monkeypatch.setattr(LayerPruner, "__call__", note)
    found = _recovered(prunable, windows)
    _assert_dense(network, before)
    assert {name: mask.bits.tobytes() for name, mask in found.masks.items()} == decided
    assert [report.block for report in found.recovered] == [0, 1]
    assert all(report.after < report.before and not report.note for report in found.recovered)
    for layer in prunable.layers:
        weight, mask = found.weight(layer), found.masks[layer.name].unpack()
        assert (weight[~mask] == 0).all()
        assert not torch.equal(weight[mask], layer.weight[mask]) or "experts" in layer.kind
    assert any(not torch.equal(found.changed.get(norm.name), norm.stored) for norm in prunable.norms)
    # Computed anew with plain hooks: the last micro-batch was held out, and its error is what the report says.
    with found.applied(prunable):
        outputs = _block_outputs(network, windows[-2:])
    targets = _block_outputs(network, windows[-2:])
    for report, output, target in zip(found.recovered, outputs, targets, strict=True):
        assert report.after == pytest.approx(_error(output, target), rel=2e-4)
    _assert_dense(network, before)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("method", ["magnitude", "wanda+admm", "sparsegpt"])
def test_after_every_kind_of_method_under_every_schedule(schedule: str, method: str, windows: Tensor) -> None:
    network = tiny("gpt2")
    prunable = find_prunable_layers(network)
    before = snapshot(network)
    plain = prune(prunable, windows, Recipe(method=method, schedule=schedule, pattern="2:4"), micro_batch=2)
    found = _recovered(prunable, windows, method=method, schedule=schedule, pattern="2:4")
    _assert_dense(network, before)
    assert found.sparsity == 0.5
    assert found.seconds["recovery"] > 0
    names = [layer.name for layer in prunable.layers if layer.block == 0]
    assert all(found.masks[n].bits.tobytes() == plain.masks[n].bits.tobytes() for n in names)
    targets = _block_outputs(network, windows)
    errors = []
    for pruning in (plain, found):
        with pruning.applied(prunable):
            errors.append(_error(_block_outputs(network, windows)[-1], targets[-1]))
    assert errors[1] < errors[0]


def test_statistics_gathered_before_serve_a_recovery(llama: PrunableModel, windows: Tensor) -> None:
    gathered = collect_statistics(llama, windows)
    seen: list[float] = []
    recipe = Recipe(schedule="dense", recovery="blocks")
    found = prune(
        llama, windows, recipe, gathered=gathered, micro_batch=2, on_progress=lambda at, _: seen.append(at)
    )
    alone = prune(llama, windows, recipe, micro_batch=2)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    for layer in llama.layers:
        assert torch.allclose(found.weight(layer), alone.weight(layer), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains_and_stays_in_its_dtype(dtype: torch.dtype, windows: Tensor) -> None:
    network = tiny("llama").to(dtype)
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    found = _recovered(prunable, windows)
    _assert_dense(network, before)
    assert all(report.after < report.before for report in found.recovered)
    assert {found.weight(layer).dtype for layer in prunable.layers} == {dtype}
    assert {found.changed.get(norm.name).dtype for norm in prunable.norms} == {dtype}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_progress_rises_to_one(prunable: PrunableModel, windows: Tensor, schedule: str) -> None:
    seen: list[tuple[float, str]] = []
    recipe = Recipe(schedule=schedule, recovery="blocks")
    prune(prunable, windows, recipe, micro_batch=3, on_progress=lambda *at: seen.append(at))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert "recovery of block 2" in {name for _, name in seen}


@SLOW
@given(
    family=st.sampled_from(list(CONFIGS)),
    schedule=st.sampled_from(SCHEDULES),
    place=st.floats(0, 0.97),
)
def test_stop_anywhere_leaves_the_model_dense(
    family: str, schedule: str, place: float, windows: Tensor
) -> None:
    network = tiny(family)
    before = snapshot(network)
    stop = threading.Event()

    def stop_at(share: float, _: str) -> None:
        if share >= place:
            stop.set()

    recipe = Recipe(schedule=schedule, recovery="blocks")
    with pytest.raises(Stopped):
        prune(find_prunable_layers(network), windows, recipe, micro_batch=2, on_progress=stop_at, stop=stop)
    _assert_dense(network, before)


def test_a_failure_in_the_training_leaves_the_model_dense(
    windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny("llama")
    before = snapshot(network)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", fail)
    with pytest.raises(ZeroDivisionError):
        _recovered(find_prunable_layers(network), windows)
    _assert_dense(network, before)


def test_a_loss_that_turns_nan_leaves_that_block_as_decided(
    windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny("llama")
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    plain = prune(prunable, windows, Recipe(), micro_batch=2)
    monkeypatch.setattr(recovery, "RATE", 1e30)
    found = _recovered(prunable, windows)
    _assert_dense(network, before)
    assert [report.block for report in found.recovered] == [0, 1, 2]
    assert all(report.note == recovery.NO_NUMBER for report in found.recovered)
    for layer in prunable.layers:
        assert torch.equal(found.weight(layer), plain.weight(layer))


def test_one_block_of_nan_does_not_keep_the_rest_from_recovering(
    windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prunable = find_prunable_layers(tiny("llama"))
    train = recovery.BlockRecovery._train

    def overdo(self: Any, index: int, *rest: Any) -> Any:
        monkeypatch.setattr(recovery, "RATE", 1e30 if index == 1 else 5e-4)
        return train(self, index, *rest)

    monkeypatch.setattr(recovery.BlockRecovery, "_train", overdo)
    found = _recovered(prunable, windows)
    assert [bool(report.note) for report in found.recovered] == [False, True, False]
    assert found.recovered[0].after < found.recovered[0].before
    assert found.recovered[2].after < found.recovered[2].before
    changed = {layer.block for layer in prunable.layers if layer.name in found.changed}
    assert changed == {0, 2}


def test_training_that_only_makes_it_worse_is_not_kept(
    windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prunable = find_prunable_layers(tiny("llama"))
    plain = prune(prunable, windows, Recipe(), micro_batch=2)
    monkeypatch.setattr(recovery, "RATE", 0.3)
    found = _recovered(prunable, windows)
    assert all(report.after == report.before and report.epochs == 1 for report in found.recovered)
    for layer in prunable.layers:
        assert torch.equal(found.weight(layer), plain.weight(layer))


@pytest.mark.parametrize(("samples", "micro_batch"), [(1, None), (4, 4)])
def test_too_few_windows_to_hold_any_out_are_refused(
    samples: int, micro_batch: int | None, windows: Tensor
) -> None:
    network = tiny("llama")
    with pytest.raises(Refused, match="holds windows out"):
        prune(
            find_prunable_layers(network),
            windows[:samples],
            Recipe(method="magnitude", recovery="blocks"),
            micro_batch=micro_batch,
        )
    assert recovery.held_out(2) == 1


def test_an_expert_without_a_token_is_left_as_it_was_decided(windows: Tensor) -> None:
    """A router that never chooses expert 3: its kept weights must be the dense ones."""
    network = build(*EXPERTS["mixtral"])
    for block in network.model.layers:
        block.mlp.gate.register_forward_hook(lambda _m, _a, out: _without_expert(out, 3))
    prunable = find_prunable_layers(network)
    found = _recovered(prunable, windows)
    assert all(report.after < report.before for report in found.recovered)
    for layer in prunable.layers:
        mask = found.masks[layer.name].unpack()
        if getattr(layer, "expert", None) == 3:
            assert torch.equal(found.weight(layer), layer.weight * mask)


def _without_expert(out: Any, expert: int) -> Any:
    logits, scores, index = out
    other = torch.where(index == expert, (index.flip(-1) + 1) % 3, index)
    return logits, scores, other


def test_the_same_recipe_gives_the_same_weights(llama: PrunableModel, windows: Tensor) -> None:
    first, second = (_recovered(llama, windows) for _ in range(2))
    for layer in llama.layers:
        assert torch.equal(first.weight(layer), second.weight(layer))


def test_values_of_one_block_only_are_held(llama: PrunableModel, windows: Tensor, monkeypatch) -> None:
    """Counted, not timed: when a block's training begins, nothing of the block before is left."""
    alive: list[int] = []
    made: list[Any] = []
    begin = recovery.Training.__init__

    def count(self: Any, *arguments: Any) -> None:
        import gc
        import weakref

        gc.collect()
        alive.append(sum(reference() is not None for reference in made))
        begin(self, *arguments)
        made.extend(weakref.ref(value) for value in self.values.values())

    monkeypatch.setattr(recovery.Training, "__init__", count)
    _recovered(llama, windows)
    assert len(made) >= 3 * 9
    assert alive == [0, 0, 0]
