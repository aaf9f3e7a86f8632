"""Tiny random models of several families, and a byte tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

VOCABULARY = 257
"""256 bytes and a token that ends a text."""

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=256,
    ),
    "gemma3": lambda: Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,  # shorter than the windows of the tests, so that two kinds of mask are in play
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        max_position_embeddings=256,
        eos_token_id=256,
    ),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
        word_embed_proj_dim=32,
        dropout=0.0,
        pad_token_id=1,
        eos_token_id=256,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_inner=48, n_layer=3, n_head=4, n_positions=256, eos_token_id=256
    ),
}


def tiny(family: str, seed: int = 0) -> PreTrainedModel:
    """A random model of a family, in float32."""
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(CONFIGS[family]()).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        # As initialised, inputs hardly differ in size, and Wanda would prune as magnitude does.
        if weight.dim() == 1 and "norm" in name:
            weight.mul_(torch.rand_like(weight) * 2 + 0.1)
    return network


def snapshot(network: PreTrainedModel) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {name: tensor.clone() for name, tensor in network.state_dict(keep_vars=False).items()}


def assert_untouched(network: PreTrainedModel, before: dict[str, Tensor]) -> None:
    """Every parameter is bit for bit what it was, and no hook is left."""
    after = network.state_dict()
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert _bytes(tensor) == _bytes(after[name]), name
    for name, module in network.named_modules():
        assert not module._forward_pre_hooks, name
        assert not module._forward_hooks, name


def _bytes(tensor: Tensor) -> bytes:
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for every byte: any text, no download."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
