"""Text to token windows: files, a Hub that answers on a loopback port, and where windows may lie."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wanda_core.errors import Refused
from wanda_core.texts.sources import Text, read_text
from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows

ROOT = Path(__file__).resolve().parents[1]
WORDS = ["[UNK]", "[BOS]", "the", "cat", "sat", "on", "mat"]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, [BOS] in front, a context of 4, and a truncation setting left in the file."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", 1)])
    backend.enable_truncation(max_length=3)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", model_max_length=4)


def refusal(call, *arguments) -> str:
    """The message with which `call` refuses: one line."""
    with pytest.raises(Refused) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# --- tokens ---------------------------------------------------------------------------------------------------


def test_the_whole_text_is_encoded_once_without_a_warning(tokenizer):
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    try:
        ids = encode("the cat sat on the mat\n\nthe dog sat", tokenizer)
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert ids.dtype == torch.int64
    assert ids.tolist() == [1, 2, 3, 4, 5, 2, 6, 2, 0, 4]
    assert lines == []


def test_text_without_a_token_is_refused_where_windows_are_cut(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    ids = encode("", tokenizer)
    assert (ids.shape, ids.dtype) == ((0,), torch.int64)
    assert "is empty" in refusal(evaluation_windows, ids, None, 2)
    assert "is empty" in refusal(calibration_windows, ids, 1, 2, 0)


# --- windows --------------------------------------------------------------------------------------------------


def test_evaluation_takes_the_first_windows_in_order():
    ids = torch.arange(100, 111)
    assert evaluation_windows(ids, 2, 4).tolist() == [[100, 101, 102, 103], [104, 105, 106, 107]]
    assert evaluation_windows(ids, None, 3).tolist() == [[100, 101, 102], [103, 104, 105], [106, 107, 108]]
    assert evaluation_windows(ids, None, 11).tolist() == [list(range(100, 111))]


@settings(deadline=None)  # the time is the machine's, not the code's
@given(st.data())
def test_calibration_windows_never_overlap_and_stay_behind_what_is_evaluated(data):
    samples = data.draw(st.integers(1, 12), "samples")
    length = data.draw(st.integers(2, 9), "length")
    after = data.draw(st.integers(0, 40), "after")
    slack = data.draw(st.integers(0, 30), "slack")
    seed = data.draw(st.integers(0, 2**63 - 1), "seed")
    tokens = after + samples * length + slack
    ids = torch.arange(tokens) + 1000  # a token says where it stands
    windows = calibration_windows(ids, samples, length, seed, after)
    assert (tuple(windows.shape), windows.dtype) == ((samples, length), torch.int64)
    used: set[int] = set()
    for window in windows.tolist():
        start = window[0] - 1000
        assert after <= start <= tokens - length
        assert window == ids[start : start + length].tolist()
        assert used.isdisjoint(window)
        used.update(window)
    assert torch.equal(windows, calibration_windows(ids, samples, length, seed, after))


def test_every_choice_of_places_is_equally_likely():
    # All ways to lay 2 windows of 3 tokens on tokens 1 to 9, by trying: 10.
    places = [pair for pair in combinations(range(1, 8), 2) if pair[1] - pair[0] >= 3]
    draws = 3000
    seen: Counter[tuple[int, ...]] = Counter()
    first: Counter[bool] = Counter()
    for seed in range(draws):
        starts = calibration_windows(torch.arange(10), 2, 3, seed, after=1)[:, 0].tolist()
        seen[tuple(sorted(starts))] += 1
        first[starts[0] < starts[1]] += 1
    assert sorted(seen) == places
    expected = draws / len(places)
    chi_square = sum((seen[place] - expected) ** 2 / expected for place in places)
    # Mean: places - 1, deviation: sqrt(2 (places - 1)). Sorted independent draws of the gaps: about 290.
    assert chi_square < len(places) - 1 + 5 * (2 * (len(places) - 1)) ** 0.5
    assert 0.45 < first[True] / draws < 0.55  # the order of the windows is random too


def test_seeds_differ():
    ids = torch.arange(10_000)
    assert not torch.equal(calibration_windows(ids, 8, 16, 0), calibration_windows(ids, 8, 16, 1))


def test_too_short_a_text_says_what_there_is_and_what_is_needed():
    ids = torch.arange(3100)
    assert refusal(calibration_windows, ids, 16, 512, 0) == (
        "the text has 3,100 tokens, 16 windows of 512 need 8,192: "
        "give a longer text, or lower --samples or --length"
    )
    assert refusal(calibration_windows, ids, 2, 1024, 0, 1053) == (
        "the text has 3,100 tokens, the first 1,053 of them for evaluation, 2 windows of 1,024 need 2,048: "
        "give a longer text, or lower --samples or --length"
    )
    assert calibration_windows(ids, 2, 1024, 0, 1052).shape == (2, 1024)
    assert refusal(calibration_windows, ids, 1, 2, 0, 4000).startswith(
        "the text has 3,100 tokens, the first 4,000"
    )
    for windows in (1, None):
        assert refusal(evaluation_windows, ids, windows, 4096) == (
            "the text has 3,100 tokens, 1 window of 4,096 needs 4,096: "
            "give a longer text, or lower --windows or --eval-length"
        )


@pytest.mark.parametrize("bad", [0, -1, 1.0, 2.5, True, "8", None])
def test_what_is_no_whole_number_is_refused(bad):
    ids = torch.arange(100)
    assert "--samples" in refusal(calibration_windows, ids, bad, 4, 0)
    assert "--length" in refusal(calibration_windows, ids, 2, bad, 0)
    assert "--eval-length" in refusal(evaluation_windows, ids, 2, bad)
    if bad is not None:
        assert "--windows" in refusal(evaluation_windows, ids, bad, 4)
        assert "characters" in refusal(read_text, "pydoc", "calibration", bad)
    if bad != 0 or isinstance(bad, float):
        assert "--seed" in refusal(calibration_windows, ids, 2, 4, bad)
        assert "after" in refusal(calibration_windows, ids, 2, 4, 0, bad)


def test_a_window_has_at_least_two_tokens():
    assert "--length" in refusal(calibration_windows, torch.arange(9), 2, 1, 0)
    assert "--eval-length" in refusal(evaluation_windows, torch.arange(9), 2, 1)


# --- files ----------------------------------------------------------------------------------------------------


def write(path: Path, content: str | bytes | pd.DataFrame) -> str:
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def json_lines(*rows: object) -> str:
    return "\n".join(json.dumps(row) for row in rows)


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


def test_wikitext_is_divided_between_evaluation_and_calibration(tokenizer):
    folder = os.environ.get("WANDA_LAB_DATA")
    path = Path(folder or "", "wikitext2-test.txt")
    if not folder or not path.exists():
        pytest.skip("WANDA_LAB_DATA names no folder with wikitext2-test.txt")
    text = read_text(str(path), "evaluation")
    assert text.text == path.read_text(encoding="utf-8")  # line ends made "\n", as in the dataset
    assert text.text.startswith("\n\n = Robert Boulter = \n\n\n\n\n Robert Boulter is an English film")
    ids = torch.arange(len(encode(text.text, tokenizer)))  # places for tokens
    assert len(ids) > 200_000
    evaluated = evaluation_windows(ids, 16, 2048)
    calibrated = calibration_windows(ids, 64, 2048, seed=0, after=evaluated.numel())
    assert evaluated.max() < calibrated.min()
    assert calibrated.unique().numel() == 64 * 2048


# --- the Hub --------------------------------------------------------------------------------------------------


def parquet(*rows: str) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"text": rows}).to_parquet(buffer)
    return buffer.getvalue()


def card(**configs: dict[str, str]) -> bytes:
    """A dataset card that says which files make up which split of which configuration."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config.replace('_', '-')}", "  data_files:"]
        lines += [
            line for split, files in splits.items() for line in (f"  - split: {split}", f"    path: {files}")
        ]
    return "\n".join([*lines, "---", ""]).encode()


def shard(split: str, number: int) -> bytes:
    return gzip.compress(
        json_lines(*({"text": f"{split} {number} {i}", "url": "u"} for i in range(500))).encode()
    )


HUB_FILES: dict[str, dict[str, bytes]] = {
    "Salesforce/wikitext": {
        "README.md": card(
            wikitext_103_raw_v1={"train": "large/train-*"},
            wikitext_2_raw_v1={split: f"small/{split}-*" for split in ("test", "train", "validation")},
        ),
        "large/train-0.parquet": parquet("the large one"),
        **{
            f"small/{split}-0.parquet": parquet("", f" = {split} = \n", "")
            for split in ("test", "train", "validation")
        },
    },
    "allenai/c4": {
        "README.md": card(en={"train": "en/c4-train.*.json.gz", "validation": "en/c4-validation.*.json.gz"}),
        **{f"en/c4-train.{i:05}-of-01024.json.gz": shard("train", i) for i in (0, 1)},
        **{f"en/c4-validation.{i:05}-of-00008.json.gz": shard("validation", i) for i in (0, 1)},
    },
    "owner/train-only": {"data.jsonl": json_lines({"text": "a"}, {"text": "b"}).encode()},
    "owner/odd-splits": {
        "README.md": card(default={"dev": "a.jsonl", "more": "b.jsonl"}),
        "a.jsonl": b'{"text": "a"}',
        "b.jsonl": b'{"text": "b"}',
    },
    "owner/damaged": {"train.parquet": b"PAR1 and then nothing PAR1"},
    "owner/script": {"script.py": b"open('executed', 'w')"},
}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's protocol as `datasets` asks for."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def log_message(self, *_: object) -> None: ...

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(unquote(self.path))
        self.asked.append(url.path)
        parts = url.path.strip("/").split("/")
        api = parts[0] == "api"
        kind, owner, name, *rest = [*parts[api:], "", "", ""]
        repository, rest = f"{owner}/{name}", [part for part in rest if part]
        if name in ("gated", "terms-unread"):
            return self.answer(401 if name == "gated" else 403, X_Error_Code="GatedRepo")
        if name == "down":
            return self.answer(500)
        if kind != "datasets" or repository not in HUB_FILES:
            return self.answer(401, X_Error_Code="RepoNotFound")
        files = HUB_FILES[repository]
        if api and rest[:1] in ([], ["revision"]):
            return self.answer(200, json.dumps({"id": repository, "sha": "a" * 40}).encode())
        if api:
            folders = sorted({str(folder) for file in files for folder in Path(file).parents} - {"."})
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for file, content in files.items()
            ] + [{"type": "directory", "path": folder, "oid": "b" * 40} for folder in folders]
            if rest[0] == "paths-info":
                wanted = parse_qs(body.decode()).get("paths", [])
                chosen = [entry for entry in entries if entry["path"] in wanted]
            else:
                folder = Path(*rest[2:])
                deep = "recursive=true" in url.query.lower()
                chosen = [
                    e for e in entries if folder in (list(Path(e["path"]).parents)[: None if deep else 1])
                ]
            return self.answer(200, json.dumps(chosen).encode())
        file = "/".join(rest[2:])
        if file not in files:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit="a" * 40)
        content = files[file]
        headers = {"X_Repo_Commit": "a" * 40, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if "Range" not in self.headers:
            return self.answer(200, content, **headers)
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        piece = content[int(first) : int(last or len(content)) + 1]
        where = f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}"
        return self.answer(206, piece, Content_Range=where, **headers)

    do_HEAD = do_POST = do_GET


CHILD = """
import json, sys, time
time.sleep = lambda seconds: None  # between attempts to reach the Hub
from wanda_core.texts.sources import read_text
from wanda_core.errors import Refused
answers = []
for arguments in json.loads(sys.argv[1]):
    try:
        answers.append(vars(read_text(*arguments)))
    except Refused as refused:
        answers.append(str(refused))
print(json.dumps(answers))
"""


def in_child(folder: Path, *calls: tuple, **environment: str) -> list[Text | str]:
    """`read_text` in a process of its own, as the Hub's address is read at import: texts, or why not."""
    (folder / "work").mkdir(exist_ok=True)
    before = sorted((folder / "work").rglob("*"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    clean |= {"HF_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"} | environment
    command = [sys.executable, "-c", CHILD, json.dumps(calls)]
    done = subprocess.run(
        command, cwd=folder / "work", env=clean, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bars, no warnings
    assert sorted((folder / "work").rglob("*")) == before
    return [Text(**answer) if isinstance(answer, dict) else answer for answer in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """What `read_text` answers, by its arguments; the paths asked of the Hub; and the folder it worked in."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Recording", (Hub,), {"asked": []}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("hub")
    calls = [
        *[("wikitext2", role) for role in ("calibration", "evaluation")],
        *[("c4", role, 30) for role in ("calibration", "evaluation")],
        ("c4", "calibration", 10**9),
        *[("Salesforce/wikitext:wikitext-2-raw-v1", role) for role in ("calibration", "evaluation")],
        *[("owner/train-only", role) for role in ("calibration", "evaluation")],
        *[(f"owner/{name}", "evaluation") for name in ("odd-splits", "damaged", "script", "missing", "down")],
        *[(f"owner/{name}", "evaluation") for name in ("gated", "terms-unread", "x.py", "a--b")],
        *[(f"Salesforce/wikitext{config}", "evaluation") for config in ("", ":wikitext-3")],
        ("buckets/x", "evaluation"),
    ]
    endpoint = f"http://127.0.0.1:{server.server_port}"
    answers = dict(zip(calls, in_child(folder, *calls, HF_ENDPOINT=endpoint), strict=True))
    server.shutdown()
    server.server_close()
    return answers, server.RequestHandlerClass.asked, folder


def test_wikitext2_is_joined_as_in_the_papers(hub):
    answers, _, _ = hub
    train, test = (answers["wikitext2", role] for role in ("calibration", "evaluation"))
    assert (train.name, train.text) == ("wikitext2 (train)", "\n\n = train = \n\n\n")
    assert (test.name, test.text) == ("wikitext2 (test)", "\n\n = test = \n\n\n")
    assert train.source != test.source


def test_wikitext2_is_there_again_without_a_network(hub):
    answers, _, folder = hub
    (again,) = in_child(folder, ("wikitext2", "evaluation"), HF_HUB_OFFLINE="1")
    assert again == answers["wikitext2", "evaluation"]


def test_c4_is_the_first_file_up_to_the_document_that_reaches_the_bound(hub):
    answers, asked, _ = hub
    train, validation = (answers["c4", role, 30] for role in ("calibration", "evaluation"))
    assert (train.name, train.text) == ("c4 (train)", "train 0 0\n\ntrain 0 1\n\ntrain 0 2")
    assert (validation.name, validation.text) == ("c4 (validation)", "validation 0 0\n\nvalidation 0 1")
    assert train.source != validation.source
    whole = answers["c4", "calibration", 10**9]
    assert whole.text.startswith(train.text)
    assert whole.text.endswith("\n\ntrain 0 499")  # no second file, however much is asked for
    assert whole.source == train.source  # the same text, read further
    assert not [
        path for path in asked if "resolve" in path and ("train.00001" in path or "validation.00001" in path)
    ]


def test_any_dataset_of_the_hub_is_read_by_split(hub):
    answers, _, _ = hub
    small = "Salesforce/wikitext:wikitext-2-raw-v1"
    assert answers[small, "calibration"].text == answers["wikitext2", "calibration"].text
    assert answers[small, "evaluation"].text == answers["wikitext2", "evaluation"].text
    calibration, evaluation = (answers["owner/train-only", role] for role in ("calibration", "evaluation"))
    assert calibration == evaluation  # one split for both, which its source shows
    assert (calibration.name, calibration.text) == ("owner/train-only (train)", "a\n\nb")


@pytest.mark.parametrize(
    ("spec", "expected"),
    {
        "owner/odd-splits": "only dev, more",
        "owner/damaged": "cannot be read",
        "owner/script": "scripts are no longer supported",
        "owner/x.py": "scripts are no longer supported",
        "owner/missing": "the Hub shows no dataset owner/missing",
        "owner/down": "the Hub cannot be reached",
        "owner/gated": "accept its terms on the Hub, and set HF_TOKEN or run `hf auth login`",
        "owner/terms-unread": "accept its terms on the Hub, and set HF_TOKEN or run `hf auth login`",
        "owner/a--b": "cannot be read",
        "buckets/x": "cannot be read",
        "Salesforce/wikitext": "['wikitext-103-raw-v1', 'wikitext-2-raw-v1']",
        "Salesforce/wikitext:wikitext-3": "['wikitext-103-raw-v1', 'wikitext-2-raw-v1']",
    }.items(),
)
def test_what_the_hub_does_not_give_is_refused(hub, spec, expected):
    answers, _, _ = hub
    message = answers[spec, "evaluation"]
    assert isinstance(message, str), message
    assert expected in message
    assert spec in message
    assert "\n" not in message


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_without_a_hub_the_way_out_is_a_local_file_or_pydoc(tmp_path, environment):
    local = write(tmp_path / "a.jsonl", json_lines({"text": "a"}))
    folder = tmp_path / "work" / "owner" / "name"  # this and the next not to be taken for the dataset
    folder.mkdir(parents=True)
    (tmp_path / "work" / "c4").mkdir()
    write(folder / "train.jsonl", json_lines({"text": "a"}))
    calls = [(spec, "calibration") for spec in ("wikitext2", "c4", "owner/name:default", local, "pydoc")]
    *unreachable, file, pydoc = in_child(tmp_path, *calls, **environment)
    for message, (spec, _) in zip(unreachable, calls, strict=False):
        assert (
            message
            == f"the Hub cannot be reached for {spec}: give a local file, or `pydoc`: no network needed"
        )
    assert file.text == "a"
    assert len(pydoc.text) > 300_000
    assert not list((tmp_path / "home").glob("datasets/*json*"))  # no copy of a user's text
