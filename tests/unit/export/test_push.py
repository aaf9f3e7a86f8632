"""`prune --push-to-hub` against a Hub played on the loopback device: one commit with the whole export, or one line."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest

from tests.support.hub import Session
from wanda_core.__main__ import main

TOKEN = "hf_a_token_that_may_write"


class WritableHub(ThreadingHTTPServer):
    repos: dict[str, dict[str, bytes]]
    writer: str
    """The token that may write."""


class Handler(BaseHTTPRequestHandler):
    """Creating a model and committing to it, as `HfApi` asks for them."""

    server: WritableHub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlparse(self.path).path.strip("/").split("/")
        if parts == ["api", "validate-yaml"]:
            self._answer(200, {"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {self.server.writer}":
            self._answer(401, {"error": "who are you?"})
        elif parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in self.server.repos:
                self._answer(409, {"error": "exists"})
            else:
                assert asked.get("visibility") == "private" or asked.get("private")
                self.server.repos[name] = {}
                self._answer(200, {"url": f"http://127.0.0.1:{self.server.server_port}/{name}", "id": name})
        elif parts[4] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif parts[4] == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repos["/".join(parts[2:4])][line["value"]["path"]] = content
            address = f"http://127.0.0.1:{self.server.server_port}/{'/'.join(parts[2:4])}/commit/0"
            self._answer(200, {"commitUrl": address, "commitOid": "0" * 40, "success": True})

    def do_GET(self) -> None:
        self._answer(200, {"id": "me/new", "sha": "0" * 40, "siblings": []})

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Standard error belongs to what is tested."""


@pytest.fixture(scope="module")
def hub() -> Iterator[WritableHub]:
    server = WritableHub(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def session(hub: WritableHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("session")
    with contextlib.closing(Session(hub, folder, {"HF_TOKEN": TOKEN})) as session:
        yield session


@pytest.fixture
def push(
    hub: WritableHub, session: Session, llama_folder: Path, text_file: Path, tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Prune and push; exit code and standard error."""
    calibration = ["--calibration", str(text_file), "--samples", "2", "--length", "16"]

    def run(repo: str, writer: str = TOKEN) -> tuple[int, str]:
        hub.repos, hub.writer = {"me/taken": {}}, writer
        out = ["--out", str(tmp_path / "out"), "--push-to-hub", repo]
        return session.run("prune", str(llama_folder), *calibration, *out)

    return run


def test_an_export_is_pushed_whole(push, hub: WritableHub, tmp_path: Path) -> None:
    code, error = push("me/new")
    assert code == 0, error
    written = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert hub.repos["me/new"] == written
    assert {"model.safetensors", "recipe.json", "masks.safetensors", "README.md"} <= written.keys()


@pytest.mark.parametrize(
    ("repo", "writer", "reason"),
    [
        ("me/taken", TOKEN, "me/taken is on the Hub already: choose a new name"),
        ("me/new", "hf_another", "the Hub does not let you write me/new: run `hf auth login`"),
    ],
)
def test_what_the_hub_refuses(push, tmp_path: Path, repo: str, writer: str, reason: str) -> None:
    code, error = push(repo, writer)
    assert code == 2
    assert reason in error
    assert error.count("wanda_core: ") == 1
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("repo", ["new", "../../etc", "me/new/model", "me/ne w", "", "a..b/c"])
def test_a_name_that_is_none_is_refused_before_any_work(
    repo: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = ["--calibration", "none.txt", "--out", str(tmp_path / "out"), "--push-to-hub", repo]
    assert main(["prune", "pocket", *out]) == 2
    assert capfd.readouterr().err == (
        "wanda_core: the name on the Hub must be OWNER/NAME, a new model of yours\n"
    )
    assert not (tmp_path / "out").exists()
