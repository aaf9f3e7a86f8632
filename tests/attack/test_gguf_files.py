"""GGUF files from anywhere."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.attack.model_use import refused, use
from tests.support import gguf

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("warm", "soon", "in_bounds")]


def _cut(share: float) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        whole = gguf.tiny_gguf(file).read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])

    return make


def _patched(old: bytes, new: bytes) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        whole = gguf.tiny_gguf(file).read_bytes()
        assert whole.count(old) >= 1
        file.write_bytes(whole.replace(old, new, 1))

    return make


def _written(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content + bytes(200))


def _tiny(**settings: Any) -> Callable[[Path], object]:
    return lambda file: gguf.tiny_gguf(file, **settings)


SMALL_TENSOR = struct.pack("<I2Q", 2, gguf.WIDTH, gguf.WIDTH)
DAMAGED = "is damaged"
GGUF: dict[str, tuple[Callable[[Path], object], str]] = {
    **{f"cut at {share:.1%}": (_cut(share), DAMAGED) for share in (0, 0.0001, 0.001, 0.01, 0.05)},
    **{f"cut at {share:.1%}": (_cut(share), "cannot be loaded|damaged") for share in (0.3, 0.9, 0.9999)},
    "a list without end": (_written(gguf.header(gguf.listed(0, 2**60))), DAMAGED),
    "a list of words without end": (_written(gguf.header(gguf.listed(8, 2**60))), DAMAGED),
    "a list of a million empty words": (_written(gguf.header(gguf.listed(8, 9_999_999))), DAMAGED),
    "a list of lists": (_written(gguf.header(gguf.listed(9, 3))), "unknown kind 9"),
    "a word of exabytes": (_written(gguf.header(gguf.setting(8, gguf.string(b"x", 2**60)))), DAMAGED),
    "a name of exabytes": (_written(gguf.header(gguf.string(b"x", 2**63))), DAMAGED),
    "a kind that there is not": (_written(gguf.header(gguf.setting(77, b"1234"))), "unknown kind 77"),
    "settings without end": (_written(gguf.header(count=2**63)), DAMAGED),
    "tensors without end": (_written(gguf.header(tensors=2**62)), DAMAGED),
    "a tensor of a billion dimensions": (
        _written(gguf.header(tensors=1) + gguf.string(b"a") + struct.pack("<I", 10**9)), "dimensions",
    ),
    "a tensor of exabytes": (
        _patched(SMALL_TENSOR, struct.pack("<I2Q", 2, 2**32, 2**30)), "needs about|damaged",
    ),
    "a tensor larger than its data": (
        _patched(SMALL_TENSOR, struct.pack("<I2Q", 2, 4096, 4096)), "cannot be loaded|damaged",
    ),
    "version 99": (_written(gguf.header(version=99)), "version 2 or 3"),
    "another kind of file": (_written(b"PK\x03\x04" + b"x" * 99), "not a GGUF file"),
    "a thousand layers in two": (_tiny(block_count=1000), "1,000 layers, at most"),
    "a billion layers": (_tiny(block_count=10**9), "layers, at most"),
    "more layers than weights": (_tiny(block_count=300), "lacks weights"),
    "wider than its weights": (_tiny(embedding_length=2**20), "lacks weights|cannot be loaded"),
    "a vocabulary of billions": (_tiny(vocab_size=2**31), "lacks weights|cannot be loaded"),
    "a middle of billions": (_tiny(feed_forward_length=2**31), "lacks weights|cannot be loaded"),
    "NaN weights": (_tiny(times=np.float32(math.nan)), "NaN"),
    "infinite weights": (_tiny(times=np.float32(math.inf)), "NaN|infinit"),
    "a template that loops": (
        _tiny(chat_template="{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        "chat template fails",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GGUF)
def test_a_hostile_gguf_file_is_refused(kind: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    tried("hostile GGUF files")
    make, reason = GGUF[kind]
    make(tmp_path / "model.gguf")
    refused(tmp_path / "model.gguf", tmp_path, reason)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "${7*7}", "{{constructor}}", "=cmd()", "\n---\n"]
)
def test_what_a_gguf_file_calls_itself_is_no_markup(
    name: str, tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("hostile GGUF files")
    use(gguf.tiny_gguf(tmp_path / "model.gguf", name=name, license=name), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert name.strip() not in card.replace("---\n", "", 2).split("# model.gguf")[0]
