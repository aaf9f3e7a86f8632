"""The scan of the blocks, against pruning and evaluating one block after the other, and the ratios made of it."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.support.models import tiny
from wanda_core import Recipe, Refused, find_prunable_layers
from wanda_core.errors import Stopped
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.allocation import REACH, sensitivity_ratios
from wanda_core.pruning.block_scan import scan_blocks
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import BlockScan


def _naive_losses(prunable: PrunableModel, tokens: Tensor, recipe: Recipe) -> list[float]:
    """Loss with nothing pruned, and with each block alone pruned from the dense model's inputs and put in place."""
    pruning = prune(
        prunable, tokens, Recipe(method=recipe.method, sparsity=recipe.sparsity, schedule="dense")
    )
    losses = []
    for index in range(-1, len(prunable.blocks)):
        weights = [(x, partial(pruning.weight, x)) for x in prunable.layers if x.block == index]
        with prunable.computing_with(weights), torch.no_grad():
            logits = prunable.network(input_ids=tokens, use_cache=False).logits
        losses.append(float(functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())))
    return losses


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gemma3"])
def test_the_scan_is_one_block_pruned_after_the_other(family: str, tokens: Tensor) -> None:
    prunable = find_prunable_layers(tiny(family))
    windows = tokens[:3] % prunable.network.config.get_text_config().vocab_size
    before = {layer.name: layer.weight.clone() for layer in prunable.layers}
    recipe = Recipe(sparsity=0.6)
    scan = scan_blocks(prunable, windows, recipe, micro_batch=2)
    dense, *pruned = _naive_losses(prunable, windows, recipe)
    assert scan.dense == pytest.approx(dense, rel=1e-5)
    assert scan.pruned == pytest.approx(pruned, rel=1e-5)
    blocks = len(prunable.blocks)
    assert scan.evaluations == len(windows) * blocks * (blocks + 3) // 2
    assert scan.heads == len(windows) * (blocks + 1)
    for layer in prunable.layers:
        assert torch.equal(layer.weight, before[layer.name])
        assert "forward" not in vars(layer.module)
    assert all("forward" not in vars(block) for block in prunable.blocks)


def test_what_it_takes_is_counted_where_it_happens(llama: PrunableModel, tokens: Tensor) -> None:
    """Seen from inside the blocks and at the head: L (L + 3) / 2 and L + 1 for each of 4 windows, and the calibration's
    forwards of 8 windows, two at a time."""
    seen = {"blocks": 0, "heads": 0}

    def count(name: str) -> Any:
        return lambda *_: seen.update({name: seen[name] + 1})

    hooks = [block.mlp.register_forward_hook(count("blocks")) for block in llama.blocks]
    hooks.append(llama.network.lm_head.register_forward_hook(count("heads")))
    scan = scan_blocks(llama, tokens[:8], Recipe(sparsity=0.5), micro_batch=2)
    for hook in hooks:
        hook.remove()
    assert scan.windows == 4
    assert seen["heads"] == scan.heads == 4 * 4
    assert seen["blocks"] == scan.evaluations + 4 * 3
    assert scan.evaluations == 4 * 9
    assert (
        "36 block evaluations (one block after the other: 48), 16 heads, 1 calibration pass (3)" in scan.told
    )


def test_a_block_that_runs_twice_is_refused(llama: PrunableModel, tokens: Tensor) -> None:
    hook = llama.blocks[1].register_forward_hook(lambda block, args, out: block.forward(out))
    llama.blocks[1].forward = lambda hidden_states, **_: hidden_states
    try:
        with pytest.raises(Refused, match="block 1 runs more than once"):
            scan_blocks(llama, tokens, Recipe(method="magnitude"), micro_batch=2)
    finally:
        hook.remove()
        del llama.blocks[1].forward


def test_stop_leaves_the_model_dense(llama: PrunableModel, tokens: Tensor) -> None:
    stop = threading.Event()
    before = llama.network(input_ids=tokens[:1]).logits

    def tell(share: float, where: str) -> None:
        if "pruned alone" in where:
            stop.set()

    with pytest.raises(Stopped):
        scan_blocks(llama, tokens, Recipe(sparsity=0.5), micro_batch=2, on_progress=tell, stop=stop)
    assert torch.equal(llama.network(input_ids=tokens[:1]).logits, before)


def _scan(*rises: float) -> BlockScan:
    return BlockScan(2.0, tuple(2.0 + rise for rise in rises), 1, 0, 0)


@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.5, 0.6, 0.97, 1.0])
@pytest.mark.parametrize("rises", [(0.1, 0.2, 0.4, 0.8), (5.0, 0.01, 0.01, 0.02), (0.3, -0.1, 0.0, 0.2)])
def test_ratios_meet_the_target_exactly(rises: tuple[float, ...], sparsity: float) -> None:
    weights = [100, 200, 100, 700]
    ratios = sensitivity_ratios(_scan(*rises), weights, sparsity)
    mean = sum(r * w for r, w in zip(ratios, weights, strict=True)) / sum(weights)
    assert mean == pytest.approx(sparsity, abs=1e-12)
    assert min(ratios) >= max(0.0, sparsity - REACH) - 1e-12
    assert max(ratios) <= min(1.0, sparsity + REACH) + 1e-12


def test_ratios_make_one_more_weight_cost_the_same_everywhere() -> None:
    """With rises `a exp(8 s)` the marginal cost `a exp(8 s) / weights` is that of every block within its bounds."""
    rises, weights = (0.10, 0.14, 0.12), [100, 150, 100]
    ratios = sensitivity_ratios(_scan(*rises), weights, 0.6)
    costs = [a * math.exp(8 * s) / w for a, s, w in zip(rises, ratios, weights, strict=True)]
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-9)


def test_where_no_block_matters_all_are_the_same() -> None:
    assert sensitivity_ratios(_scan(0.0, -0.1, 0.0), [1, 2, 3], 0.5) == [0.5] * 3


@pytest.mark.parametrize("method", ["wanda", "magnitude", "wanda+admm"])
def test_pruning_by_sensitivity(method: str, llama: PrunableModel, tokens: Tensor) -> None:
    seen: list[float] = []
    pruning = prune(
        llama,
        tokens,
        Recipe(method=method, sparsity=0.5, allocation="sensitivity"),
        on_progress=lambda share, _: seen.append(share),
    )
    assert pruning.scan is not None
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    weights = [sum(x.weight.numel() for x in llama.layers if x.block == i) for i in range(3)]
    ratios = sensitivity_ratios(pruning.scan, weights, 0.5)
    for report, layer in ((r, x) for r in pruning.reports for x in llama.layers if x.name == r.name):
        rows, columns = layer.weight.shape
        if method == "magnitude":
            assert report.pruned == math.floor(rows * columns * ratios[report.block])
        else:
            assert report.pruned == rows * math.floor(columns * ratios[report.block])
