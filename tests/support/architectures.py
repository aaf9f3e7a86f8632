"""Small models of many families."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


HEADS = {"head_dim": 8}


MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


EXPERTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("MixtralConfig", LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "olmoe": ("OlmoeConfig", LLAMA | {"num_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": ("Qwen3MoeConfig", LLAMA | HEADS | MOE),
}


def build(config: str, arguments: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    made = getattr(transformers, config)(vocab_size=99, **arguments)
    network = AutoModelForCausalLM.from_config(made).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if weight.dim() == 1 and "norm" in name:
            weight.mul_(torch.rand_like(weight) * 2 + 0.1)
    return network
