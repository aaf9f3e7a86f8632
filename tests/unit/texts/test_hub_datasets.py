"""Texts of the Hub, which a server of the test plays."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd
import pytest

from tests.support.server import ROOT
from tests.support.texts import json_lines, write
from wanda_core.texts.sources import Text


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
import json, os, sys, time
time.sleep = lambda seconds: None  # between attempts to reach the Hub
from wanda_core.texts import hub_datasets
from wanda_core.texts.sources import read_text
hub_datasets.PROBE_SECONDS = float(os.environ.get("PROBE_SECONDS", hub_datasets.PROBE_SECONDS))
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
        *[(f"owner/odd-splits{more}", "evaluation") for more in ("@dev", "@more#text", "@no", "@dev#no")],
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


def test_split_and_column_are_named(hub):
    answers, _, _ = hub
    dev, more = (answers[f"owner/odd-splits{what}", "evaluation"] for what in ("@dev", "@more#text"))
    assert (dev.name, dev.text) == ("owner/odd-splits@dev", "a")
    assert (more.name, more.text) == ("owner/odd-splits@more#text", "b")
    assert dev.source != more.source


def test_a_silent_hub_is_given_up_and_the_cache_is_read(hub):
    """The Hub takes the connection and says nothing: what was fetched once is read all the same."""
    answers, _, folder = hub
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        again, refused = in_child(
            folder,
            ("wikitext2", "evaluation"),
            ("owner/new", "evaluation"),
            HF_ENDPOINT=endpoint,
            PROBE_SECONDS="1",
        )
    assert again == answers["wikitext2", "evaluation"]
    assert (
        refused == "the Hub cannot be reached for owner/new: give a local file, or `pydoc`: no network needed"
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    {
        "owner/odd-splits": "only dev, more",
        "owner/odd-splits@no": "has no split `no`, only dev, more: name one as @SPLIT",
        "owner/odd-splits@dev#no": "has no column `no`, only text",
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
