"""Runs in a process of its own (see `bounded_child`): a text through a model's tokenizer."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Tokens of `text` by `tokenizer`, as JSON, with `special` tokens around it or without."""
    tokenizer = Tokenizer.from_str(task["tokenizer"])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoded = tokenizer.encode(task["text"], add_special_tokens=task["special"])
    return {"input_ids": encoded.ids, "offset_mapping": encoded.offsets}
