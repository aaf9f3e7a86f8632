"""Which column of a table is the text, and what is said where none is."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from wanda_core import Refused
from wanda_core.texts.records import join_rows
from wanda_core.texts.sources import read_text


def refusal(file: Path, spec: str = "", **how: int) -> str:
    with pytest.raises(Refused) as refused:
        read_text(spec or str(file), "calibration", **how)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_a_column_is_named_behind_the_file(tmp_path: Path) -> None:
    table = pd.DataFrame({"title": ["A", "B"], "body": ["one", "two"], "number": [1, 2]})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    for ending in ("csv", "parquet", "jsonl"):
        file = tmp_path / f"a.{ending}"
        assert read_text(f"{file}#body", "calibration").text == "one\n\ntwo"
        assert "has no column `text` or `messages`, but title, body, number: name one as #COLUMN" in refusal(
            file
        )
        assert "has no column `other`, only title, body, number" in refusal(file, f"{file}#other")
        assert "is not text" in refusal(file, f"{file}#number")


@pytest.mark.parametrize("ending", [".txt", ".md", ".csv", ".jsonl"])
def test_half_a_character_is_not_utf8(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"half{ending}"
    whole = {"csv": "text\ncafé", "jsonl": '{"text": "café"}'}.get(ending[1:], "café").encode()
    file.write_bytes(whole.replace("é".encode(), "é".encode()[:1]))
    message = refusal(file)
    assert "UTF-8" in message or "cannot be read" in message


def test_too_large_is_said_with_figures(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("a" * 2_000_000)
    assert refusal(file, most_bytes=1_000_000) == (
        "long.txt has 2.0 MB, at most 1.0 are read here: give a part of it"
    )
    assert len(read_text(str(file), "calibration", most_bytes=2_000_000).text) == 2_000_000


def test_a_small_file_with_a_huge_text(tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    pd.DataFrame({"text": ["a" * 1_000_000] * 50}).to_parquet(file, compression="zstd")
    assert file.stat().st_size < 100_000
    assert "holds more than 800,000 characters" in refusal(file, most_bytes=100_000)


def test_messages_become_text_and_conversations(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    parts = [{"type": "image"}, {"type": "text", "text": "two"}]
    rows = [[{"role": "user", "content": "one"}], [{"role": "user", "content": parts}]]
    file.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    text = read_text(str(file), "calibration")
    assert text.text == "one\n\ntwo"
    assert text.conversations == (
        ({"role": "user", "content": "one"},),
        ({"role": "user", "content": "two"},),
    )


@pytest.mark.parametrize("bad", [[1], [{}], [{"role": "user"}], [{"role": 1, "content": "a"}], ["a"]])
def test_messages_of_another_form(bad: list[object]) -> None:
    with pytest.raises(Refused, match=r"row 2 of the column `messages` is no list of messages"):
        join_rows([{"messages": [{"role": "user", "content": "a"}]}, {"messages": bad}], "x")
