"""Texts that somebody uploads."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components import uploads
from tests.attack.model_use import parquet_of, written
from wanda_core import Refused

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("warm", "soon", "in_bounds")]


UPLOADS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "nothing": ("a.txt", written("")),
    "blanks": ("a.txt", written(" \n" * 1000)),
    "NUL": ("a.txt", written("a\0b")),
    "not UTF-8": ("a.txt", written(b"\xff\xfe\x80")),
    "half a character": ("a.txt", written("fox \ud83e")),
    "larger than allowed": ("a.txt", written(b"x" * 40_000_000)),
    "a program": ("a.md", written(b"\x7fELF" + bytes(100))),
    "JSON lines of nothing": ("a.jsonl", written("")),
    "deep JSON lines": ("a.jsonl", written('{"text": ' + "[" * 50_000)),
    "JSON lines of numbers": ("a.jsonl", written('{"text": 7}\n')),
    "JSON lines of other columns": ("a.jsonl", written('{"a": "x", "b": "y"}\n')),
    "JSON lines with half a character": ("a.jsonl", written('{"text": "fox \\ud83e"}\n')),
    "JSON lines cut": ("a.jsonl", written('{"text": "a"}\n{"text": "b')),
    "JSON lines of lists": ("a.jsonl", written("[1, 2]\n")),
    "conversations of numbers": ("a.jsonl", written('{"messages": [{"role": 1, "content": 2}]}\n')),
    "conversations of words": ("a.jsonl", written('{"messages": ["hello"]}\n')),
    "a table without text": ("a.csv", written("a,b\n1,2\n")),
    "a table of quotes": ("a.csv", written('text\n"' + 'a""' * 100)),
    "a table of noise": ("a.csv", written(bytes(range(256)) * 20)),
    "parquet of noise": ("a.parquet", written(b"PAR1" + bytes(range(256)) + b"PAR1")),
    "parquet whose end lies": ("a.parquet", written(b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1")),
    "parquet of nothing": ("a.parquet", written(b"")),
    "parquet of numbers": ("a.parquet", parquet_of({"text": [1, 2, 3]})),
    "parquet of other columns": ("a.parquet", parquet_of({"a": ["x"], "b": ["y"]})),
    "another kind": ("a.pkl", written(b"cos\nsystem\n.")),
    "no ending": ("a", written("words")),
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_hostile_uploads_are_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[..., None]
) -> None:
    tried("hostile uploads")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    name, make = UPLOADS[kind]
    file = tmp_path / ("0f" * 32) / name
    file.parent.mkdir()
    make(file)
    with pytest.raises(Refused) as refusal:
        uploads.read_upload(str(file))
    said = str(refusal.value)
    assert "\n" not in said
    assert str(tmp_path) not in said


def test_parquet_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[..., None]
) -> None:
    tried("hostile uploads")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(uploads, "LIMITS", replace(uploads.LIMITS, request_bytes=4_000_000))  # as on a Space
    file = tmp_path / ("0f" * 32) / "a.parquet"
    file.parent.mkdir()
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = "x" * 1_000_000
    with pq.ParquetWriter(file, pa.schema([("text", pa.string())]), compression="zstd") as writer:
        for _ in range(100):
            writer.write_table(pa.table({"text": [row] * 10}))
    assert file.stat().st_size < 1_000_000
    with pytest.raises(Refused, match=r"more than|larger"):
        uploads.read_upload(str(file))
