"""GGUF files: a tiny model, and headers that say whatever a test wants."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

WIDTH, MIDDLE, VOCABULARY = 32, 64, 260


def tiny_gguf(path: Path, blocks: int = 2, **settings: Any) -> Path:
    """A llama with a vocabulary of bytes.

    Args:
        blocks: that it has.
        settings: to be written in place of the true ones: `block_count`, `embedding_length`, `name`, `license`,
            `chat_template`, `middle` for another width of the MLP, `epsilon`,and `times` for weights multiplied by it.
    """
    draw = np.random.default_rng(0)
    writer = GGUFWriter(path, "llama")
    writer.add_name(settings.get("name", "tiny"))
    if "license" in settings:
        writer.add_license(settings["license"])
    if "chat_template" in settings:
        writer.add_chat_template(settings["chat_template"])
    writer.add_context_length(64)
    writer.add_embedding_length(settings.get("embedding_length", WIDTH))
    writer.add_block_count(settings.get("block_count", blocks))
    middle = settings.get("middle", MIDDLE)
    writer.add_feed_forward_length(settings.get("feed_forward_length", middle))
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(settings.get("epsilon", 1e-5))
    writer.add_vocab_size(settings.get("vocab_size", VOCABULARY))
    _add_bytes(writer)

    def add(name: str, *shape: int) -> None:
        drawn = draw.normal(0, 0.1, shape).astype(np.float32)
        writer.add_tensor(name, drawn * settings.get("times", np.float32(1)))

    add("token_embd.weight", VOCABULARY, WIDTH)
    add("output_norm.weight", WIDTH)
    for block in range(blocks):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{block}.{name}.weight", WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            add(f"blk.{block}.{name}.weight", middle, WIDTH)
        add(f"blk.{block}.ffn_down.weight", WIDTH, middle)
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{block}.{name}.weight", WIDTH)
    return _written(writer, path)


def tiny_gpt2_gguf(path: Path) -> Path:
    """A GPT-2 of two blocks, whose matrices transformers has transposed: it takes positions and width of the MLP to be
    those of the real one."""
    draw = np.random.default_rng(1)
    writer = GGUFWriter(path, "gpt2")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2)
    writer.add_feed_forward_length(4 * WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-5)
    _add_bytes(writer)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", draw.normal(0, 0.1, shape).astype(np.float32))
        if "embd" not in name:
            writer.add_tensor(f"{name}.bias", draw.normal(0, 0.1, shape[:1]).astype(np.float32))

    add("token_embd", VOCABULARY, WIDTH)
    add("position_embd", 1024, WIDTH)
    add("output_norm", WIDTH)
    for block in range(2):
        add(f"blk.{block}.attn_qkv", 3 * WIDTH, WIDTH)
        add(f"blk.{block}.attn_output", WIDTH, WIDTH)
        add(f"blk.{block}.ffn_up", 4 * WIDTH, WIDTH)
        add(f"blk.{block}.ffn_down", WIDTH, 4 * WIDTH)
        add(f"blk.{block}.attn_norm", WIDTH)
        add(f"blk.{block}.ffn_norm", WIDTH)
    return _written(writer, path)


def _add_bytes(writer: GGUFWriter) -> None:
    """A tokenizer of bytes, and one pair."""
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*(chr(0x100 + i) for i in range(258)), f"{chr(0x100)}{chr(0x101)}", "<|end|>"])
    writer.add_token_merges([f"{chr(0x100)} {chr(0x101)}"])
    writer.add_eos_token_id(VOCABULARY - 1)
    writer.add_bos_token_id(VOCABULARY - 1)


def _written(writer: GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def string(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def header(*settings: bytes, tensors: int = 0, count: int | None = None, version: int = 3) -> bytes:
    """The first bytes of a file.

    Args:
        settings: of `setting`.
        tensors, count: how many tensors and settings there are said to be.
    """
    said = len(settings) if count is None else count
    return b"GGUF" + struct.pack("<IQQ", version, tensors, said) + b"".join(settings)


def setting(kind: int, value: bytes, key: bytes = b"general.architecture") -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def listed(kind: int, count: int, values: bytes = b"") -> bytes:
    """A setting that is a list."""
    return setting(9, struct.pack("<IQ", kind, count) + values)
