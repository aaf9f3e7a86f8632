"""All that is done with a model, for files that may be anything; and the bounds in which it is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attack.model_folders import SECRET
from wanda_core import Recipe, Refused, load, prune
from wanda_core.evaluation.perplexity import perplexity
from wanda_core.export.folder import save_pruned
from wanda_core.texts.chat import encode_chat
from wanda_core.texts.sources import Text
from wanda_core.texts.windows import encode

MOST = 400e6
"""Bytes that this process may take in addition while it looks at a hostile file; an ordinary one takes 50 MB."""

TEXT = (
    "Long ago a fox met a crow; "
    + "qqqqqqqqqq" * 60
    + " and they talked of a zebra. " * 20
    + "a" * 60
    + " m."
)


def use(source: Path, out: Path) -> None:
    """All that is done with a model."""
    model = load(str(source))
    tokens = encode(TEXT * 4, model.tokenizer)[:64].view(2, 32)
    if model.tokenizer.chat_template:
        encode_chat(Text("text", TEXT, "text"), model.tokenizer)
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.5))
    with pruning.applied(model.prunable):
        perplexity(model.network, tokens)
    save_pruned(model, pruning, tokens, {"text": "text"}, out)


def refused(source: Path, folder: Path, reason: str) -> None:
    out = folder / "out"
    with pytest.raises(Refused, match=reason) as refusal:
        use(source, out)
    said = str(refusal.value)
    assert "\n" not in said
    assert len(said) < 700
    assert SECRET not in said
    assert not out.exists()
    assert not list(folder.rglob("*.partial"))
    assert not list(folder.rglob("ran"))


def parquet_of(columns: dict[str, Any]) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        import pandas as pd

        pd.DataFrame(columns).to_parquet(file)

    return make


def written(content: bytes | str) -> Callable[[Path], object]:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return lambda file: file.write_bytes(data)
