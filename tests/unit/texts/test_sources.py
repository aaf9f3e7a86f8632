"""Texts from files, and what is no text."""

from __future__ import annotations

import importlib
import logging
import socket

import pandas as pd
import pytest

from tests.support.texts import json_lines, refusal, write
from wanda_core.assets import ASSETS
from wanda_core.texts.sources import read_text

FILES = {
    "plain.txt": ("Über\nallem.\n\n", "Über\nallem.\n\n"),
    "UPPER.TXT": ("a", "a"),
    "windows.md": (b"\xef\xbb\xbf# T\r\n\r\nbody\r\n", "# T\n\nbody\n"),
    "rows.jsonl": (
        json_lines({"n": 1, "text": "é"}, {"text": None}, {"text": ""}, {"text": "b"}),
        "é\n\n\n\nb",
    ),
    "array.jsonl": ('[{"text": "a"}, {"text": "b"}]', "a\n\nb"),
    "[odd] *name?.jsonl": (json_lines({"text": "a"}), "a"),
    "column.jsonl": (json_lines({"n": 1, "body": None}, {"n": 2, "body": "b"}, {"body": "c"}), "b\n\nc"),
    "two.csv": ('text,title\n"a\nb",x\nNA,y\n"c, d",z\n', "a\nb\n\nNA\n\nc, d"),
    "numbers.csv": ("text,n\n" + "a,1\n" * 10_000 + "1,1\n02,1\n", "a\n\n" * 10_000 + "1\n\n02"),
    "other.csv": ("id,body\n1,a\n2,b\n", "a\n\nb"),
    "t.parquet": (pd.DataFrame({"title": ["x", "y"], "text": ["a", "b"]}), "a\n\nb"),
    "column.parquet": (pd.DataFrame({"body": ["a", "b"], "n": [1, 2]}), "a\n\nb"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_whole(tmp_path, name):
    content, expected = FILES[name]
    for role in ("calibration", "evaluation"):
        text = read_text(write(tmp_path / name, content), role, characters=1)
        assert (text.name, text.text) == (name, expected)


BAD_FILES = {
    "latin.txt": ("café".encode("latin-1"), "UTF-8"),
    "latin.jsonl": ('{"text": "café"}'.encode("latin-1"), "UTF-8"),
    "latin.csv": ("text\ncafé\n".encode("latin-1"), "UTF-8"),
    "utf16.txt": ("abc".encode("utf-16-le"), "UTF-8"),
    "binary.md": (b"abc\0def", "NUL"),
    "binary.csv": (b"text\na\0b\n", "NUL"),
    "empty.txt": ("", "no text"),
    "empty.jsonl": ("", "no text"),
    "empty.csv": ("", "no text"),
    "empty.parquet": (b"", "no text"),
    "blank.txt": (" \n\n\t", "no text"),
    "header.csv": ("text\n", "no text"),
    "cut.jsonl": ('{"text": "a"}\n{"text": ', "cannot be read"),
    "not.jsonl": ("just words", "cannot be read"),
    "ragged.csv": ("text,n\na,1\nb,2,3\n", "cannot be read"),
    "cut.parquet": (b"PAR1 and then nothing PAR1", "cannot be read"),
    "numbers.csv": ("n,m\n1,2\n3,4\n", "but n, m:"),
    "two.jsonl": (json_lines({"title": "a", "body": "b"}), "but title, body:"),
    "none.parquet": (pd.DataFrame({"n": [1], "m": [2]}), "but n, m:"),
    "late.csv": ("body\n" + "a\n" * 10_000 + "1\n", "row 10,001 of the column `body` is not text"),
    "report.pdf": ("a", "give a .txt"),
    "noending": ("a", "give a .txt"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_holds_no_text_is_refused(tmp_path, name, capfd):
    content, expected = BAD_FILES[name]
    message = refusal(read_text, write(tmp_path / name, content), "calibration")
    assert expected in message
    assert name in message
    assert capfd.readouterr() == ("", "")  # said once, in the error


def test_a_folder_and_a_missing_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "folder.txt").mkdir()
    assert "is a folder" in refusal(read_text, "owner/name", "calibration")
    assert "is a folder" in refusal(read_text, "folder.txt", "calibration")
    assert "there is no file" in refusal(read_text, "owner/missing.jsonl", "calibration")
    assert "there is no file" in refusal(read_text, "missing.PARQUET", "calibration")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no socket files on this system")
def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.txt")
        assert "give a .txt" in refusal(read_text, "socket.txt", "calibration")


NO_NAMES = [
    "",
    " ",
    "wikitext",
    "csv",
    "c4:en",
    "../up",
    "/no/such/file",
    "a/b/c",
    "a/b:",
    "a/b:c:d",
    "-a/b",
    "a b/c",
]


NO_NAMES += ["a/bé", "a/b\n", "x\0y", "line\nbreak", "https://example.org/x"]


@pytest.mark.parametrize("spec", NO_NAMES)
def test_what_is_neither_a_file_nor_a_dataset_name_is_refused_without_asking_the_hub(spec):
    message = refusal(read_text, spec, "evaluation")
    assert "is neither a file nor the name of a dataset" in message


@pytest.mark.parametrize("spec", ["x" * 5000, "no\0.txt", None, 7, []])
def test_what_can_be_no_name_at_all_is_refused(spec):
    assert refusal(read_text, spec, "evaluation")


def test_reading_leaves_the_working_folder_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", json_lines({"text": "a"}))
    assert read_text("a.jsonl", "calibration").text == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("library", ["datasets", "huggingface_hub.utils"])
def test_progress_bars_and_log_level_are_given_back(tmp_path, library):
    library = importlib.import_module(library)
    library.enable_progress_bars()
    library.logging.set_verbosity_warning()
    read_text(write(tmp_path / "a.jsonl", json_lines({"text": "a"})), "calibration")
    refusal(read_text, write(tmp_path / "b.jsonl", "{"), "calibration")
    assert not library.are_progress_bars_disabled()
    assert library.logging.get_verbosity() == logging.WARNING


def test_source_says_whether_two_texts_are_the_same(tmp_path):
    text = read_text(write(tmp_path / "a.txt", "one\n\ntwo"), "calibration")
    copy = read_text(write(tmp_path / "b.jsonl", json_lines({"text": "one"}, {"text": "two"})), "evaluation")
    other = read_text(write(tmp_path / "c.txt", "one\n\nthree"), "evaluation")
    assert text.source == copy.source != other.source
    assert read_text("pydoc", "calibration") == read_text("pydoc", "evaluation")


def test_pydoc_is_pythons_documentation_and_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pydoc").mkdir()
    text = read_text("pydoc", "calibration")
    assert text.name.startswith("pydoc (Python 3.")
    assert len(text.text) > 300_000
    assert 'The "assert" statement' in text.text


def test_stories_are_pockets_own_text_in_two_parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for role in ("calibration", "evaluation"):
        text = read_text("stories", role)
        assert text.name == f"the built-in stories ({role} part)"
        assert text.text == (ASSETS / "pocket" / f"{role}.txt").read_text(encoding="utf-8")
