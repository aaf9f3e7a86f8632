"""Models of the Hub, played by a small server on the loopback device: what is fetched, and what is refused before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.support.hub import Session
from tests.support.server import ROOT

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repo:
    """A model on the played Hub."""

    files: dict[str, bytes]
    refusal: tuple[int, str] | None = None
    """Status and X-Error-Code of every answer about it."""
    gated: bool = False
    """Listed for all, its files for some."""
    parameters: int | None = None
    """What the Hub says; None: the truth."""
    breaks_off: bool = False
    """Half of the weights arrive."""
    one_bit_off: bool = False
    """The weights arrive as long as they should be."""
    asked_for: list[str] = field(default_factory=list)


class Hub(ThreadingHTTPServer):
    repos: dict[str, Repo]


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        if parts[0] == "api":
            self._api("/".join(parts[2:4]), parts[4:])
        else:
            self._file("/".join(parts[:2]), "/".join(parts[4:]))

    def _api(self, name: str, rest: list[str]) -> None:
        repo = self.server.repos.get(name, Repo({}, refusal=(401, "RepoNotFound")))
        if repo.refusal:
            self._answer(repo.refusal[0], {"X-Error-Code": repo.refusal[1]}, b"{}")
        elif rest[:1] == ["revision"] and rest[1] not in ("main", SHA):
            self._answer(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
        elif rest[:1] == ["tree"]:
            entries = [{"type": "file", "path": f, "size": len(c), "oid": "0"} for f, c in repo.files.items()]
            self._answer(200, {}, json.dumps(entries).encode())
        else:
            count = 50_000 if repo.parameters is None else repo.parameters
            info = {
                "id": name,
                "sha": SHA,
                "siblings": [self._listed(f, c) for f, c in repo.files.items()],
                "safetensors": {"parameters": {"F32": count}, "total": count},
            }
            self._answer(200, {}, json.dumps(info).encode())

    @staticmethod
    def _listed(file: str, content: bytes) -> dict[str, object]:
        stored = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        large = {"lfs": stored} if file.endswith(".safetensors") else {}
        return {"rfilename": file, "size": len(content), **large}

    def _file(self, name: str, file: str) -> None:
        repo = self.server.repos[name]
        repo.asked_for.append(file)
        if repo.gated:
            self._answer(401, {"X-Error-Code": "GatedRepo"}, b"")
        elif file not in repo.files:
            self._answer(404, {"X-Error-Code": "EntryNotFound"}, b"")
        else:
            headers = {"X-Repo-Commit": SHA, "ETag": f'"{abs(hash(repo.files[file]))}"'}
            weights, content = file.endswith(".safetensors"), repo.files[file]
            if repo.one_bit_off and weights:
                content = content[:-1] + bytes([content[-1] ^ 1])
            self._answer(200, headers, content, half=repo.breaks_off and weights)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, half: bool = False) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if half else body)

    def log_message(self, *_: object) -> None:
        """Standard error belongs to what is tested."""


def config(folder: Path, **changes: object) -> bytes:
    return json.dumps(json.loads((folder / "config.json").read_text()) | changes).encode()


@pytest.fixture(scope="module")
def hub(llama_folder: Path) -> Iterator[Hub]:
    files = {file.name: file.read_bytes() for file in llama_folder.iterdir()}
    pickles = {name.replace("model.safetensors", "pytorch_model.bin"): text for name, text in files.items()}
    bert = config(llama_folder, model_type="bert", architectures=["BertForMaskedLM"])
    evil = config(llama_folder, model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    server = Hub(("127.0.0.1", 0), Handler)
    server.repos = {
        "some/llama": Repo(
            {**files, "evil.py": b"", "pytorch_model.bin": b"", "onnx/model.safetensors": b""}
        ),
        "some/gated": Repo(files, gated=True),
        "some/closed": Repo(files, refusal=(403, "GatedRepo")),
        "some/huge": Repo(files, parameters=10**13),
        "some/pickled": Repo(pickles),
        "some/empty": Repo({"README.md": b""}),
        "some/encoder": Repo({**files, "config.json": bert}),
        "some/remote": Repo({**files, "config.json": evil, "evil.py": b"raise SystemExit"}),
        "some/hollow": Repo({**files, "config.json": config(llama_folder, num_hidden_layers=200)}),
        "some/broken": Repo(files, breaks_off=True),
        "some/altered": Repo(files, one_bit_off=True),
        "some/padded": Repo({**files, "more.safetensors": bytes(1_000_000)}),
        "some/ill": Repo(files, refusal=(503, "")),
        "some/blocked": Repo(files, refusal=(451, "")),
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def session(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with contextlib.closing(Session(hub, tmp_path_factory.mktemp("hub"))) as session:
        yield session


@pytest.fixture
def prune(session: Session, text_file: Path, tmp_path: Path):
    """Run `prune SOURCE`; exit code and standard error."""
    calibration = ["--calibration", str(text_file), "--samples", "2", "--length", "16"]

    def run(source: str, *more: str) -> tuple[int, str]:
        return session.run("prune", source, *calibration, "--out", str(tmp_path / "out"), *more)

    return run


@pytest.mark.parametrize("revision", [[], ["--revision", "main"], ["--revision", SHA]])
def test_a_hub_model_is_fetched_and_pruned(prune, hub: Hub, tmp_path: Path, revision: list[str]) -> None:
    assert prune("some/llama", *revision) == (0, "")
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["revision"] == SHA
    fetched = set(hub.repos["some/llama"].asked_for)
    assert "model.safetensors" in fetched
    assert not fetched & {"evil.py", "pytorch_model.bin", "onnx/model.safetensors"}


@pytest.mark.parametrize(
    ("source", "reason", "may_ask_for"),
    [
        ("some/unknown", "some/unknown is not on the Hub, or is private: check the name", set()),
        (
            "some/gated",
            "some/gated is gated: accept its terms on its Hub page, then set HF_TOKEN",
            {"config.json"},
        ),
        ("some/closed", "some/closed is gated: accept its terms on its Hub page, then set HF_TOKEN", set()),
        ("some/huge", "some/huge needs about 40000.0 GB on cpu", set()),
        ("some/pickled", "pickle only", set()),
        ("some/empty", "holds no weights", set()),
        ("some/encoder", "BertForMaskedLM, not a causal language model", {"config.json"}),
        ("some/remote", "code of its own", {"config.json"}),
        ("some/ill", "the Hub cannot be reached and some/ill is not in the local cache", set()),
        ("some/blocked", "the Hub refuses some/blocked: ", set()),
        ("some/broken", "the download of some/broken was interrupted", {"config.json", "model.safetensors"}),
    ],
)
def test_refused_before_the_weights_are_fetched(
    prune, hub: Hub, tmp_path: Path, source: str, reason: str, may_ask_for: set[str]
) -> None:
    code, error = prune(source)
    assert (code, error.count("\n")) == (2, 1), error
    assert reason in error
    assert list(tmp_path.iterdir()) == []
    asked_for = set(hub.repos[source].asked_for if source in hub.repos else [])
    described = {file for file in asked_for if file.endswith((".json", ".txt", ".jinja"))}
    assert asked_for - described <= may_ask_for
    assert bool(described) == ("config.json" in may_ask_for)


def test_an_unknown_revision(prune) -> None:
    code, error = prune("some/llama", "--revision", "v9")
    assert (code, error) == (2, "wanda_core: some/llama has no revision v9 on the Hub\n")


def test_more_files_than_a_space_holds_are_not_fetched(hub: Hub, tmp_path: Path) -> None:
    """The Hub counts the weights of the model's own file alone."""
    command = "from wanda_core import load; load('some/padded', most_bytes=400_000)"
    ran = subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(tmp_path),
        },
    )
    assert "some/padded has 1.2 MB of files, at most 0.4 MB are allowed here" in ran.stderr
    assert hub.repos["some/padded"].asked_for == []


def test_a_hub_out_of_reach(text_file: Path, tmp_path: Path) -> None:
    """A plain command against a port where nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    command = [sys.executable, "-m", "wanda_core", "prune", "some/llama", "--calibration", str(text_file)]
    ran = subprocess.run(
        [*command, "--samples", "2", "--length", "16", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path / "cache")},
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith(
        "wanda_core: the Hub cannot be reached and some/llama is not in the local cache"
    )
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_found_by_its_branch_when_the_hub_is_away(prune, hub: Hub, tmp_path: Path) -> None:
    assert prune("some/llama") == (0, "")
    repo = hub.repos["some/llama"]
    repo.refusal = (503, "")
    try:
        shutil.rmtree(tmp_path / "out")
        assert prune("some/llama") == (0, "")
    finally:
        repo.refusal = None
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["revision"] == SHA


def test_more_layers_than_weights_are_not_fetched(prune, hub: Hub) -> None:
    code, error = prune("some/hollow")
    assert (code, error.count("\n")) == (2, 1), error
    assert "some/hollow lacks weights" in error
    assert "model.safetensors" not in hub.repos["some/hollow"].asked_for


def test_weights_that_are_not_what_the_hub_said_are_not_kept(prune, hub: Hub, session: Session) -> None:
    """Their length is right."""
    repo = hub.repos["some/altered"]
    for _ in range(2):  # fetched again, not found in the cache
        code, error = prune("some/altered")
        assert (code, error.count("\n")) == (2, 1), error
        assert "the download of some/altered was interrupted" in error
    repo.one_bit_off = False
    assert prune("some/altered") == (0, "")
    # What is known to be right is not read again.
    (weights,) = session.folder.rglob("models--some--altered/snapshots/*/model.safetensors")
    place = weights.resolve()
    place.write_bytes(place.read_bytes()[:-1] + b"\0")
    code, error = prune("some/altered")
    assert "interrupted" not in error
