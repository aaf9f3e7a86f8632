"""Recovery of the whole model: zeros stay zero, the model comes closer to the text, and is left dense."""

from __future__ import annotations

import copy
import math
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.architectures import EXPERTS, build
from tests.support.models import CONFIGS, assert_untouched, snapshot, tiny
from tests.unit.pruning.test_architectures import FAMILIES
from wanda_core import Recipe, Refused, Stopped, find_prunable_layers
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning import memory_needed, model_recovery
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning


@pytest.fixture(autouse=True)
def large_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models learn little in a few small ones."""
    monkeypatch.setattr(model_recovery, "RATE", 2e-3)


@pytest.fixture
def windows() -> Tensor:
    """Text that can be learnt: two windows, four times each."""
    two = torch.randint(3, 99, (2, 24), generator=torch.Generator().manual_seed(1))
    return two.repeat(4, 1)


def _tuned(prunable: PrunableModel, windows: Tensor, micro_batch: int = 2, **recipe: Any) -> Pruning:
    return prune(prunable, windows, Recipe(recovery="model", **recipe), micro_batch=micro_batch)


def _assert_dense(network: Any, before: dict[str, Tensor]) -> None:
    assert_untouched(network, before)
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
    assert not any("forward" in vars(module) for module in network.modules())
    assert torch.is_grad_enabled()


def _perplexity(network: Any, windows: Tensor) -> float:
    """Token by token in float64."""
    with torch.no_grad():
        logits = network(input_ids=windows, use_cache=False).logits.double()
    losses = [
        float(logits[w, at].logsumexp(0) - logits[w, at, windows[w, at + 1]])
        for w in range(len(windows))
        for at in range(windows.shape[1] - 1)
    ]
    return math.exp(sum(losses) / len(losses))


@pytest.mark.parametrize("family", [*FAMILIES, *EXPERTS])
def test_every_family_is_tuned_with_its_zeros(family: str, windows: Tensor) -> None:
    network = build(*(FAMILIES | EXPERTS)[family][:2])
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    plain = prune(prunable, windows, Recipe(), micro_batch=2)
    found = _tuned(prunable, windows)
    _assert_dense(network, before)
    report = found.recovered_model
    assert report is not None
    assert not report.note
    assert report.after < report.before
    for layer in prunable.layers:
        assert found.masks[layer.name].bits.tobytes() == plain.masks[layer.name].bits.tobytes()
        weight, mask = found.weight(layer), found.masks[layer.name].unpack()
        assert (weight[~mask] == 0).all()
        assert not torch.equal(weight[mask], layer.weight[mask]) or "experts" in layer.kind
    assert any(not torch.equal(found.changed.get(norm.name), norm.stored) for norm in prunable.norms)
    # The last micro-batch was held out.
    for pruning, expected in ((plain, report.before), (found, report.after)):
        with pruning.applied(prunable):
            assert _perplexity(network, windows[-2:]) == pytest.approx(expected, rel=1e-4)
    _assert_dense(network, before)


def test_a_step_is_adams_on_the_gradient_of_text_and_dense_model(
    windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against plain autograd on a copy of the model whose parameters are the pruned ones, nothing computed twice."""
    monkeypatch.setattr(model_recovery, "EPOCHS", 1)
    monkeypatch.setattr(model_recovery, "LOOKS", 1)
    monkeypatch.setattr(model_recovery, "ACCUMULATED", 3)
    monkeypatch.setattr(model_recovery, "CLIP", 1e9)
    network = tiny("llama")
    prunable = find_prunable_layers(network)
    plain = prune(prunable, windows, Recipe(), micro_batch=2)
    found = _tuned(prunable, windows)
    pruned = copy.deepcopy(network)
    names = [layer.name for layer in prunable.layers]
    for layer in prunable.layers:
        pruned.get_submodule(layer.name).weight.data = plain.weight(layer).clone().requires_grad_()
    for name in names:
        pruned.get_submodule(name).weight.requires_grad_()
    total = 0.0
    for batch in windows[:6].split(2):
        own = pruned(input_ids=batch).logits[:, :-1].log_softmax(-1)
        with torch.no_grad():
            other = network(input_ids=batch).logits[:, :-1].log_softmax(-1)
        text = -own.gather(-1, batch[:, 1:, None]).mean()
        apart = (other.exp() * (other - own)).sum(-1).mean()
        total = total + (text + apart) / 2 / 3
    total.backward()
    for layer in prunable.layers:
        gradient = pruned.get_submodule(layer.name).weight.grad
        mask = plain.masks[layer.name].unpack()
        step = model_recovery.RATE * gradient / (gradient.abs() + 1e-8)  # Adam's first
        sure = mask & (gradient.abs() > 1e-5)
        expected = plain.weight(layer) - step
        assert sure.sum() > mask.sum() / 2
        assert torch.allclose(found.weight(layer)[sure], expected[sure], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_tuned_in_float32_and_stays_in_its_dtype(
    dtype: torch.dtype, windows: Tensor
) -> None:
    network = tiny("llama").to(dtype)
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    found = _tuned(prunable, windows)
    _assert_dense(network, before)
    assert found.recovered_model.after < found.recovered_model.before
    assert {found.weight(layer).dtype for layer in prunable.layers} == {dtype}


def test_progress_rises_to_one_and_tells_the_perplexity(llama: PrunableModel, windows: Tensor) -> None:
    seen: list[tuple[float, str]] = []
    recipe = Recipe(recovery="model")
    found = prune(llama, windows, recipe, micro_batch=2, on_progress=lambda *at: seen.append(at))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert f"held out {found.recovered_model.curve[-1][1]:.4g}" in seen[-1][1]
    assert [step for step, _ in found.recovered_model.curve] == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("place", [0.0, 0.05, 0.4, 0.8])
def test_stop_anywhere_leaves_the_model_dense(family: str, place: float, windows: Tensor) -> None:
    network = tiny(family)
    before = snapshot(network)
    stop = threading.Event()

    def stop_at(share: float, _: str) -> None:
        if share >= place:
            stop.set()

    with pytest.raises(Stopped):
        prune(
            find_prunable_layers(network),
            windows,
            Recipe(recovery="model"),
            micro_batch=2,
            on_progress=stop_at,
            stop=stop,
        )
    _assert_dense(network, before)


def test_a_failure_in_the_training_leaves_the_model_dense(
    windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny("llama")
    before = snapshot(network)

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(model_recovery, "kl_div", fail)
    with pytest.raises(ZeroDivisionError):
        _tuned(find_prunable_layers(network), windows)
    _assert_dense(network, before)


@pytest.mark.parametrize(("rate", "note"), [(1e30, model_recovery.NO_NUMBER), (0.3, "")])
def test_what_only_makes_it_worse_is_not_kept(
    rate: float, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = torch.randint(
        3, 99, (8, 24), generator=torch.Generator().manual_seed(1)
    )  # nothing to be learnt
    network = tiny("llama")
    before = snapshot(network)
    prunable = find_prunable_layers(network)
    plain = prune(prunable, windows, Recipe(), micro_batch=2)
    monkeypatch.setattr(model_recovery, "RATE", rate)
    found = _tuned(prunable, windows)
    _assert_dense(network, before)
    assert found.recovered_model.note == note
    for layer in prunable.layers:
        assert torch.equal(found.weight(layer), plain.weight(layer))


def test_too_few_windows_to_hold_any_out_are_refused(llama: PrunableModel, windows: Tensor) -> None:
    with pytest.raises(Refused, match="model holds windows out"):
        prune(llama, windows[:1], Recipe(recovery="model"))


def test_too_little_memory_is_refused_with_the_way_out(
    llama: PrunableModel, windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = memory_needed.model_recovery_bytes(llama, 48)
    weights = sum(parameter.numel() for parameter in llama.network.parameters())
    assert needed > 20 * weights  # values, gradients, two moments, the best so far
    monkeypatch.setattr(memory_needed, "free_bytes", lambda _: needed - 1)
    with pytest.raises(Refused, match="choose recovery blocks"):
        _tuned(llama, windows)


def test_the_same_recipe_gives_the_same_weights(llama: PrunableModel, windows: Tensor) -> None:
    first, second = (_tuned(llama, windows) for _ in range(2))
    for layer in llama.layers:
        assert torch.equal(first.weight(layer), second.weight(layer))


def test_the_values_of_the_lowest_perplexity_are_kept(
    llama: PrunableModel, windows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, seen = iter([9.0, 8.0, 7.0, 7.5, 7.2, 0.0]), []

    def look(self: Any) -> float:
        seen.append({name: value.detach().clone() for name, value in self._training.values.items()})
        return next(said)

    monkeypatch.setattr(model_recovery._Run, "_perplexity", look)
    found = _tuned(llama, windows)
    assert [perplexity for _, perplexity in found.recovered_model.curve] == [9.0, 8.0, 7.0, 7.5, 7.2]
    for layer in llama.layers:
        assert torch.equal(found.weight(layer), seen[2][f"{layer.name}.weight"])
