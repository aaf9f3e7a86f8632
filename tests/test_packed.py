"""Whole models with packed 2:4 weights: the same as masked dense, and dense again afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.sparse import SparseSemiStructuredTensorCUSPARSELT, SparseSemiStructuredTensorCUTLASS
from transformers import PreTrainedModel

from tests.conftest import assert_untouched, snapshot
from tests.test_kernels import two_four_mask
from wanda_core import Recipe, calibration_windows, encode, find_prunable_layers
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning
from wanda_core.speed.kernels import cuda
from wanda_core.speed.packed_model import packed

TIE = 1e-3
"""Greedy decoding may take another token where the two best logits are this close."""


def logits(network: PreTrainedModel, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return network(input_ids=tokens).logits


def greedy(network: PreTrainedModel, prompt: Tensor, count: int) -> tuple[list[int], list[float]]:
    """Tokens of greedy decoding through `generate`, and how far the best logit is above the second at each."""
    written = network.generate(
        prompt, do_sample=False, max_new_tokens=count, eos_token_id=-1, return_dict_in_generate=True,
        output_logits=True,
    )  # fmt: skip
    best = torch.stack(written.logits)[:, 0].topk(2).values
    return written.sequences[0, prompt.shape[1] :].tolist(), (best[:, 0] - best[:, 1]).tolist()


def assert_same_text(
    network: PreTrainedModel, pruning: Pruning, prunable: PrunableModel, prompt: Tensor
) -> int:
    """Greedy tokens agree up to the first place where masked dense itself hardly decides; how many that were."""
    with pruning.applied(prunable):
        expected, margins = greedy(network, prompt, 40)
    with packed(prunable, pruning):
        tokens, _ = greedy(network, prompt, 40)
    for place, (token, wanted, margin) in enumerate(zip(tokens, expected, margins, strict=True)):
        if token != wanted:
            assert margin < TIE, (place, margin)
            return place
    return len(tokens)


@pytest.mark.parametrize(("pattern", "kernel"), [("2:4", "2:4 numba"), ("unstructured", "bitmask numba")])
def test_packed_computes_as_masked_dense(
    network: PreTrainedModel, prunable: PrunableModel, tokens: Tensor, pattern: str, kernel: str, monkeypatch
) -> None:
    monkeypatch.setattr("wanda_core.speed.kernels.lanes.fast", lambda: True)  # right everywhere, if slow
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


def test_what_no_kernel_takes_stays_masked_dense(llama: PrunableModel, tokens: Tensor, monkeypatch) -> None:
    monkeypatch.setattr("wanda_core.speed.kernels.lanes.fast", lambda: False)
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


@pytest.mark.real
def test_the_same_text_from_a_real_model(smollm2_model: LanguageModel, wikitext: Path) -> None:
    ids = encode(wikitext.read_text(encoding="utf-8")[:200_000], smollm2_model.tokenizer)
    windows = calibration_windows(ids, 2, 128, seed=0)
    pruning = prune(smollm2_model.prunable, windows, Recipe(pattern="2:4"))
    network, prunable = smollm2_model.network, smollm2_model.prunable
    agreed = [assert_same_text(network, pruning, prunable, ids[None, at : at + 24]) for at in (0, 5000)]
    assert max(agreed) > 10


def test_shape_rules_are_torchs_own() -> None:
    """Against the table that torch checks by, which is not public."""
    for name, kind in (
        ("cusparselt", SparseSemiStructuredTensorCUSPARSELT),
        ("cutlass", SparseSemiStructuredTensorCUTLASS),
    ):
        for dtype, multiples in cuda.MULTIPLES[name].items():
            rule = kind._DTYPE_SHAPE_CONSTRAINTS[dtype]
            assert multiples == (rule.sparse_min_rows, rule.sparse_min_cols)


@pytest.mark.parametrize(
    ("backend", "shape", "dtype", "reason"),
    [
        ("cusparselt", (48, 16), torch.float16, ""),
        ("cusparselt", (48, 24), torch.float16, "multiples of 16 outputs and 16 inputs, not 48 x 24"),
        ("cutlass", (32, 64), torch.bfloat16, ""),
        ("cutlass", (48, 64), torch.bfloat16, "multiples of 32 outputs and 64 inputs, not 48 x 64"),
        ("cutlass", (32, 64), torch.float32, "float16, bfloat16 and int8, not float32"),
    ],
)
def test_shape_rules(backend: str, shape: tuple[int, int], dtype: torch.dtype, reason: str) -> None:
    assert reason in cuda.why_not(backend, shape, dtype)
    assert bool(reason) == bool(cuda.why_not(backend, shape, dtype))


@pytest.mark.parametrize(
    ("usable", "shape", "chosen"),
    [
        ({"cusparselt", "cutlass"}, (48, 64), "cusparselt"),
        ({"cutlass"}, (64, 64), "cutlass"),
        ({"cutlass"}, (48, 64), None),
        (set(), (64, 64), None),
    ],
)
def test_dispatch(usable: set[str], shape: tuple[int, int], chosen: str | None, monkeypatch) -> None:
    monkeypatch.setattr(cuda, "why_not_here", lambda name: "" if name in usable else "not here")
    assert cuda.first_backend(shape, torch.float16) == chosen


@pytest.mark.skipif(torch.cuda.is_available(), reason="says so where there is none")
def test_without_cuda_it_says_so() -> None:
    assert {cuda.why_not_here(name) for name in cuda.BACKENDS} == {"no CUDA device on this machine"}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", cuda.BACKENDS)
def test_cuda_product(backend: str, dtype: torch.dtype) -> None:
    if reason := cuda.why_not_here(backend):
        pytest.skip(reason)
    weight = (torch.randn(256, 512) * two_four_mask(256, 512)).cuda().to(dtype)
    sparse = cuda.compress(weight, backend)
    for tokens in (1, 7, 64):
        inputs = torch.randn(tokens, 512, device="cuda", dtype=dtype)
        expected = inputs.double() @ weight.double().T
        scale = inputs.double().abs() @ weight.double().abs().T
        error = (torch.nn.functional.linear(inputs, sparse).double() - expected).abs()
        assert (error <= 4 * torch.finfo(dtype).eps * scale).all()
    assert sparse.to_dense().equal(weight)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_model(tokens: Tensor) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(vocab_size=257, hidden_size=128, intermediate_size=256, num_hidden_layers=2)
    network = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False).cuda().half()
    prunable = find_prunable_layers(network)
    pruning = prune(prunable, tokens, Recipe(pattern="2:4"))
    tokens = tokens.cuda()
    with pruning.applied(prunable):
        expected = logits(network, tokens)
    with packed(prunable, pruning) as how:
        assert len(how.kernels) == len(prunable.layers)
        torch.testing.assert_close(logits(network, tokens), expected, rtol=1e-2, atol=1e-2)
