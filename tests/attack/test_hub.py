"""A Hub that fails in every way: never longer than its time-out, never for other visitors, and what has come is not
taken for whole."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.support.hub import Session

pytestmark = pytest.mark.long

SHA = "0123456789abcdef0123456789abcdef01234567"
MOST_SECONDS = 60
"""That a run may last. The page's limit is minutes, `LIMITS.fetch_seconds`."""


class Hub(ThreadingHTTPServer):
    """Answers well until `fault` is set, a method of `Handler`."""

    daemon_threads = True
    fault: str = ""
    files: dict[str, bytes]
    over: threading.Event


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        kind, _, fault = self.server.fault.partition(": ")
        about = parts[0] == "api"
        wanted = {"api": about, "files": not about, "weights": parts[-1].endswith(".safetensors")}
        with contextlib.suppress(OSError):
            if fault and wanted[kind]:
                getattr(self, fault.replace(" ", "_"))(parts)
            elif about and "tree" in parts:
                self._tree()
            elif about:
                self._info()
            else:
                self._file(parts[-1])

    def _info(self, **changes: object) -> None:
        files = self.server.files
        info = {
            "id": "some/llama",
            "sha": SHA,
            "siblings": [{"rfilename": name, "size": len(content)} for name, content in files.items()],
            "safetensors": {"parameters": {"F32": 50_000}, "total": 50_000},
        }
        self._answer(200, json.dumps(info | changes).encode())

    def _tree(self) -> None:
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": "0"}
            for name, content in self.server.files.items()
        ]
        self._answer(200, json.dumps(entries).encode())

    def _file(self, name: str) -> None:
        if name in self.server.files:
            self._answer(200, self.server.files[name], **self._about_file(self.server.files[name]))
        else:
            self._answer(404, b"", **{"X-Error-Code": "EntryNotFound"})

    def _about_file(self, content: bytes) -> dict[str, str]:
        return {"X-Repo-Commit": SHA, "ETag": f'"{abs(hash(content))}"'}

    def _answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    # Faults.

    def hangs(self, parts: list[str]) -> None:
        self.server.over.wait(120)

    def hangs_up(self, parts: list[str]) -> None:
        self.close_connection = True
        self.connection.close()

    def noise(self, parts: list[str]) -> None:
        self.close_connection = True
        self.wfile.write(b"\xff" * 1000)

    def page(self, parts: list[str]) -> None:
        self._answer(200, b"<html><body>Sign in to the hotel</body></html>", **{"Content-Type": "text/html"})

    def too_many(self, parts: list[str]) -> None:
        self._answer(429, b"slow down", **{"Retry-After": "3600"})

    def broken(self, parts: list[str]) -> None:
        self._answer(500, b"<html>")

    def unavailable(self, parts: list[str]) -> None:
        self._answer(503, b"", **{"Retry-After": "3600"})

    def teapot(self, parts: list[str]) -> None:
        self._answer(418, b"no")

    def circle(self, parts: list[str]) -> None:
        self._answer(302, b"", Location=self.path)

    def away(self, parts: list[str]) -> None:
        """To the machine's own metadata service, as a server-side request would be."""
        self._answer(302, b"", Location="http://127.0.0.1:1/latest/meta-data")

    def list(self, parts: list[str]) -> None:
        self._answer(200, b"[1, 2, 3]")

    def deep(self, parts: list[str]) -> None:
        self._answer(200, b"[" * 100_000)

    def gigabytes(self, parts: list[str]) -> None:
        content = self.server.files["model.safetensors"]
        self.close_connection = True
        self._answer(200, content, 10 * 10**9, **self._about_file(content))

    def half(self, parts: list[str]) -> None:
        content = self.server.files.get(parts[-1], b"x" * 100)
        self.close_connection = True
        self._answer(200, content[: len(content) // 2], len(content), **self._about_file(content))

    def shorter(self, parts: list[str]) -> None:
        """Whole by what it says now, not by what the Hub said of it."""
        content = self.server.files.get(parts[-1], b"x" * 100)
        self._answer(200, content[:-7], **self._about_file(content))

    def drips(self, parts: list[str]) -> None:
        content = self.server.files.get(parts[-1], b"x" * 100)
        self._answer(200, b"", len(content), **self._about_file(content))
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.over.wait(0.2):
                return

    def climbs(self, parts: list[str]) -> None:
        self._info(
            siblings=[
                {"rfilename": name, "size": 1} for name in ("../../../x.json", "/etc/x.json", "a.safetensors")
            ]
        )

    def log_message(self, *_: object) -> None:
        """Standard error belongs to what is tested."""


FAULTS = [
    "api: hangs", "api: hangs up", "api: noise", "api: page", "api: too many", "api: broken", "api: unavailable",
    "api: teapot", "api: circle", "api: away", "api: list", "api: deep", "api: half", "api: climbs",
    "files: hangs up", "files: page", "files: too many", "files: broken", "files: circle", "files: away",
    "files: half", "files: noise",
    "weights: hangs up", "weights: page", "weights: broken", "weights: gigabytes", "weights: half",
    "weights: shorter", "weights: circle",
    "files: hangs", "weights: hangs", "weights: drips",
]  # fmt: skip
ABANDONED = ("files: hangs", "weights: hangs", "weights: drips")
"""Those that only a limit of time ends: the page's jobs have one."""


@pytest.fixture(scope="module")
def hub(llama_folder: Path) -> Iterator[Hub]:
    server = Hub(("127.0.0.1", 0), Handler)
    server.files = {file.name: file.read_bytes() for file in llama_folder.iterdir()}
    server.over = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()


@pytest.fixture(scope="module")
def session(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    # Attempts that wait for a Hub which is slow are short here, so that many faults can be tried.
    quick = {"HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DOWNLOAD_TIMEOUT": "2", "OMP_NUM_THREADS": "1"}
    with contextlib.closing(Session(hub, tmp_path_factory.mktemp("hub"), quick)) as session:
        yield session


@pytest.fixture
def prune(session: Session, text_file: Path, tmp_path: Path) -> Callable[..., tuple[int, str, float]]:
    calibration = ["--calibration", str(text_file), "--samples", "2", "--length", "16"]

    def run(name: str) -> tuple[int, str, float]:
        begin = time.monotonic()
        code, said = session.run("prune", name, *calibration, "--out", str(tmp_path / "out"))
        return code, said, time.monotonic() - begin

    return run


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ABANDONED])
def test_a_fault_is_one_line_in_time_and_nothing_of_it_stays(
    fault: str,
    hub: Hub,
    prune: Callable[..., tuple[int, str, float]],
    tmp_path: Path,
    tried: Callable[..., None],
) -> None:
    tried("Hub faults")
    name = f"some/model-{FAULTS.index(fault)}"
    hub.fault = fault
    try:
        code, said, seconds = prune(name)
    finally:
        hub.fault = ""
    assert (code, said.count("\n")) == (2, 1), said[:3000]
    assert said.startswith("wanda_core: ")
    assert seconds < MOST_SECONDS
    assert list(tmp_path.iterdir()) == []
    # What came then is not taken for whole: the next attempt is as if there had been none.
    code, said, _ = prune(name)
    assert (code, said) == (0, ""), said
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["revision"] == SHA


PAGE = """
import json, sys, threading, time
from components.jobs import runner
from components.jobs.queue import Worker
from components.take_away.job import Export
from components.workspace import experiment
from components.workspace.setup import Setup
from wanda_core.method.recipe import Recipe
import dataclasses
runner.LIMITS = dataclasses.replace(runner.LIMITS, fetch_seconds=8)
def export(source):
    setup = Setup(source, "stories", "stories", length=64)
    return Export(setup, Recipe(method="wanda", sparsity=0.5), "masks", sys.argv[1])
def done(task):
    while not task.over:
        time.sleep(0.05)
    return task
runner.import_engine()
worker = Worker()
warm = done(worker.join("first", "take-away", export("pocket")))
assert warm.failure is None, warm.failure
begin = time.monotonic()
task = done(worker.join("second", "take-away", export("some/slow")))
slow = time.monotonic() - begin
assert task.outcome is None
begin = time.monotonic()
other = done(worker.join("third", "take-away", export("pocket")))
print(json.dumps([task.failure, slow, other.failure, time.monotonic() - begin, other.outcome is not None]), flush=True)
import os
os._exit(0)
"""


@pytest.mark.parametrize("fault", ABANDONED)
def test_a_hub_that_does_not_end_is_left_behind_by_the_page(
    fault: str, hub: Hub, tmp_path: Path, tried: Callable[..., None]
) -> None:
    """The limit of a fetch, here 8 s, and the next visitor's run is not held up."""
    import os
    import subprocess
    import sys

    from tests.support.server import ROOT

    tried("Hub faults")
    hub.fault = fault
    try:
        ran = subprocess.run(
            [sys.executable, "-c", PAGE, str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
            env={k: v for k, v in os.environ.items() if not k.startswith("HF_")}
            | {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "cache")},
        )  # fmt: skip
    finally:
        hub.fault = ""
    assert ran.stdout, ran.stderr[-3000:]
    failure, slow, other_failure, other, found = json.loads(ran.stdout)
    assert "longer than the 8 s" in failure or "interrupted" in failure or "cannot be reached" in failure
    assert slow < 8 + 22  # the stopped work has 20 s to end
    assert (other_failure, found) == (None, True)
    assert other < 20
    assert "Traceback" not in ran.stderr
