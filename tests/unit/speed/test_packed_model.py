"""Whole models with packed 2:4 weights: the same as masked dense, and dense again afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.support.models import assert_untouched, snapshot
from wanda_core import Recipe
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.prune_model import prune
from wanda_core.speed.packed_model import packed


def logits(network: PreTrainedModel, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return network(input_ids=tokens).logits


@pytest.mark.parametrize(("pattern", "kernel"), [("2:4", "2:4 numba"), ("unstructured", "bitmask numba")])
def test_packed_computes_as_masked_dense(
    network: PreTrainedModel, prunable: PrunableModel, tokens: Tensor, pattern: str, kernel: str, monkeypatch
) -> None:
    monkeypatch.setattr("wanda_core.speed.kernels.cpu.expands", lambda _: True)  # right everywhere, if slow
    before = snapshot(network)
    pruning = prune(prunable, tokens, Recipe(pattern=pattern))
    with pruning.applied(prunable):
        expected = logits(network, tokens)
    with packed(prunable, pruning) as how:
        assert set(how.kernels.values()) == {kernel}
        assert how.kernels.keys() == pruning.masks.keys()
        # Tiny widths fill tiles of 32 rows only in part.
        assert how.nbytes >= 2.125 * sum(layer.stored.numel() for layer in prunable.layers)
        for part in (tokens, tokens[:1, :4]):  # through the unpacked weight, and through the kernel
            torch.testing.assert_close(
                logits(network, part), expected[: len(part), : part.shape[1]], rtol=1e-5, atol=1e-5
            )
    assert_untouched(network, before)
    assert not any("forward" in vars(module) for module in network.modules())
    assert not torch.allclose(logits(network, tokens), expected)


def test_changed_values_are_packed(llama: PrunableModel, tokens: Tensor) -> None:
    pruning = prune(llama, tokens, Recipe(method="sparsegpt", pattern="2:4"))
    with pruning.applied(llama):
        expected = llama.decoder(tokens[:1, :3]).last_hidden_state
    with packed(llama, pruning):
        torch.testing.assert_close(llama.decoder(tokens[:1, :3]).last_hidden_state, expected)


def test_recovered_norms_are_computed_with(llama: PrunableModel, tokens: Tensor) -> None:
    pruning = prune(llama, tokens, Recipe(pattern="2:4", recovery="blocks"))
    with pruning.applied(llama):
        expected = llama.decoder(tokens[:1, :3]).last_hidden_state
    with packed(llama, pruning):
        torch.testing.assert_close(llama.decoder(tokens[:1, :3]).last_hidden_state, expected)


def test_what_no_kernel_takes_stays_masked_dense(llama: PrunableModel, tokens: Tensor, monkeypatch) -> None:
    monkeypatch.setattr("wanda_core.speed.kernels.cpu.expands", lambda _: False)
    pruning = prune(llama, tokens, Recipe(sparsity=0.5))
    with pruning.applied(llama):
        expected = llama.decoder(tokens).last_hidden_state
    with packed(llama, pruning) as how:
        assert how.kernels == {}
        assert set(how.dense.values()) == {"without AVX-512 the CPU kernels take 2:4 masks only"}
        assert llama.decoder(tokens).last_hidden_state.equal(expected)


def test_an_error_inside_leaves_the_model_dense(llama: PrunableModel, tokens: Tensor) -> None:
    before = snapshot(llama.decoder)
    pruning = prune(llama, tokens, Recipe(pattern="2:4"))
    with pytest.raises(KeyboardInterrupt), packed(llama, pruning):
        raise KeyboardInterrupt
    assert_untouched(llama.decoder, before)
    assert not any("forward" in vars(module) for module in llama.decoder.modules())
