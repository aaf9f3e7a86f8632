"""Folders of the families that are written as GGUF: random weights, and tokenizers that cut texts as the real ones do,
trained on a text that is at hand."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""As published with Qwen2 (single digits) and Llama 3 (up to three)."""

CASES = {
    "smollm2": (LlamaConfig, "smollm"),
    "llama-2-like": (LlamaConfig, "gpt-2"),
    "llama-3": (LlamaConfig, "llama-bpe"),
    "qwen2": (Qwen2Config, "qwen2"),
    "qwen3": (Qwen3Config, "qwen2"),
}


def family_folder(folder: Path, case: str, texts: list[str], vocabulary: int = 600) -> Path:
    """A model of a family with four heads, two of them for keys, and 60 rows of embeddings more than tokens."""
    config, pre = CASES[case]
    tokenizer = trained(pre, texts, vocabulary)
    torch.manual_seed(0)
    network = (
        AutoModelForCausalLM.from_config(_shaped(config, len(tokenizer) + 60)).eval().requires_grad_(False)
    )
    for name, weight in network.named_parameters():
        # As initialised, attention hardly sees anything, and what is computed wrong would not show.
        weight.copy_(torch.randn_like(weight) * 0.15 if weight.dim() > 1 else torch.rand_like(weight) + 0.5)
        if name.endswith("bias"):
            weight.sub_(1)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _shaped(config: type[PreTrainedConfig], vocabulary: int) -> PreTrainedConfig:
    more = {"head_dim": 128} if config is Qwen3Config else {}
    return config(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
        tie_word_embeddings=config is Qwen2Config,
        bos_token_id=0,
        eos_token_id=1,
        **more,
    )


def trained(pre: str, texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with a cut of llama.cpp's name `pre`, and three special tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre == "gpt-2":
        tokenizer.pre_tokenizer = whole
    elif pre == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, whole])
    else:
        numbers = r"\p{N}" if pre == "qwen2" else r"\p{N}{1,3}"
        split = pre_tokenizers.Split(Regex(WORDS.replace("NUMBERS", numbers)), "isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, plain])
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin|>", "<|end|>", "<|turn|>"]
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if pre == "llama-bpe":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=[("<|begin|>", 0)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>")
