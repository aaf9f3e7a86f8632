"""What is checked of a tokenizer, and of the other files that describe a model, before they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wanda_core.bounded_process import Failed
from wanda_core.errors import Refused
from wanda_core.machine import gigabytes
from wanda_core.texts.windows import run_tokenizer

DESCRIPTIONS = (".json", ".txt", ".model", ".jinja")
"""Endings of what transformers reads of a model beside its weights."""

MOST_BYTES = 5_000_000
"""Of one such file."""

MOST_VOCABULARY = 100_000_000
"""Bytes of one that holds a vocabulary, or an index of weights; those of published models are below 40 million."""

VOCABULARIES = ("tokenizer.json", "vocab", "merges", ".model", ".index.json")
"""What the names of these hold."""

MOST_GROWTH = 100
"""Times as long as it was that a tokenizer's replacements may make a text; those of published models are below 10."""

TRIED = "".join(f"{letter * 60} " for letter in "aZ0 .\né") * 3
"""A text on which an expression that backtracks does not end."""


def refuse_descriptions(source: str, folder: Path) -> None:
    """Refuse files of a size that no description has, and what is no file: a pipe is waited for without end."""
    for file in folder.iterdir():
        if file.suffix not in (*DESCRIPTIONS, ".safetensors") or file.is_dir():
            continue
        if not file.is_file():
            raise Refused(f"{source} cannot be loaded: {file.name} is no plain file, or leads nowhere")
        most = MOST_VOCABULARY if any(part in file.name for part in VOCABULARIES) else MOST_BYTES
        if file.suffix in DESCRIPTIONS and file.stat().st_size > most:
            size = gigabytes(file.stat().st_size)
            raise Refused(
                f"{source} cannot be loaded: {file.name} has {size}, at most {gigabytes(most)} are read"
            )


def try_tokenizer(source: str, folder: Path) -> None:
    """Refuse a folder's tokenizer that takes all memory, or no end of time: tried in a process of its own, as nothing
    ends either in this one."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    try:
        run_tokenizer(TRIED, file.read_text(encoding="utf-8", errors="replace"))
    except Failed as failure:
        raise Refused(
            f"the tokenizer of {source} cannot be loaded, it is damaged or of an unknown kind: {failure}"
        ) from failure


def refuse_growing(source: str, tokenizer: Any) -> None:
    """Refuse a tokenizer whose replacements, one after the other, make a text very much longer: they would take all
    memory, and a library in Rust that finds none ends the process."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if b'"Regex"' in getattr(getattr(backend, "decoder", None), "__getstate__", bytes)():
        raise Refused(
            f"the tokenizer of {source} writes texts by expressions of its own: choose another model"
        )
    for part in (getattr(backend, "normalizer", None), getattr(backend, "decoder", None)):
        growth = 1.0
        pending = [json.loads(part.__getstate__())] if part is not None else []
        while pending:
            step = pending.pop()
            pending += [
                inner
                for value in step.values()
                if isinstance(value, list)
                for inner in value
                if isinstance(inner, dict)
            ]
            if step.get("type") == "Replace":
                replaced = step.get("pattern", {}).get("String") or "."
                growth *= max(1.0, len(step.get("content", "")) / len(replaced))
        if growth > MOST_GROWTH:
            raise Refused(
                f"the tokenizer of {source} makes texts {growth:,.0f} times as long: choose another model"
            )
