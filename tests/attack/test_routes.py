"""Paths, posts and bodies that no page sends, to every route of a real server: none breaks it or leads to what is its
own."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.attack.client import SECRETS, Target, assert_no_more_is_held

pytestmark = pytest.mark.long
Tried = Callable[..., None]
KIND = "hostile requests"
PATHS = [
    f"{door}{path}"
    for door in (
        "/gradio_api/file=",
        "/gradio_api/file/",
        "/file=",
        "/static/",
        "/assets/",
        "/svelte/",
        "/gradio_api/custom_component/x/client/component/",
    )
    for path in (
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "....//....//....//etc/passwd",
        "app.py",
        ".git/config",
        "/proc/self/environ",
        "/proc/self/cmdline",
        "a%00.txt",
        "x" * 5000,
        "%ff%fe",
        "C:%5cwindows%5cwin.ini",
    )
]
OTHERS = [
    "/gradio_api/file=http://127.0.0.1:1/x",
    "/gradio_api/file=https://169.254.169.254/latest/meta-data",
    "/gradio_api/file=//127.0.0.1/x",
    "/gradio_api/file=ftp://127.0.0.1/x",
    "/gradio_api/file=file:///etc/passwd",
    "/gradio_api/file=gopher://127.0.0.1/",
    "/gradio_api/proxy=http://127.0.0.1:1/x",
    "/gradio_api/proxy=https://example.hf.space/x",
    "/gradio_api/heartbeat",
    "/gradio_api/stream/s/r/1/playlist.m3u8",
    "/gradio_api/stream/s/r/x/1.aac",
    "/gradio_api/stream/s/r/1/playlist-file",
    "/gradio_api/deep_link?session_hash=hostile",
    "/gradio_api/deep_link",
    "/config?deep_link=../../../etc/passwd",
    "/?deep_link=../../../etc/passwd",
    "/?__theme=<img src=x onerror=alert(1)>",
    "/?point=" + "x" * 3000,
    "/?samples=1e999&source=%00&weight=%F0%28",
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/x",
    "/gradio_api/monitoring/summary",
    "/gradio_api/queue/status",
    "/gradio_api/queue/data?session_hash=nobody",
    "/gradio_api/queue/data",
    "/gradio_api/call/measure/no-such-event",
    "/gradio_api/call/v2/measure/no-such-event",
    "/gradio_api/upload_progress?upload_id=no",
    "/gradio_api/dev/reload",
    "/gradio_api/run-history/buckets",
    "/gradio_api/run-history/records",
    "/gradio_api/run-history/records/x/../../y/assets/z",
    "/gradio_api/vibe-code",
    "/gradio_api/runs",
    "/gradio_api/token",
    "/gradio_api/user",
    "/gradio_api/openapi.json",
    "/gradio_api/info?all_endpoints=True&page=../../x",
    "/gradio_api/profiling/traces",
    "/gradio_api/theme.css",
    "/pwa_icon/99999999",
    "/pwa_icon/x",
    "/manifest.json",
    "/login_check",
    "/logout",
    "/docs",
    "/redoc",
    "/learn/../../app.py",
]


@pytest.mark.parametrize("paths", [PATHS, OTHERS], ids=["of files", "of all routes"])
def test_no_path_leads_to_what_is_the_servers(target: Target, tried: Tried, paths: list[str]) -> None:
    for path in paths:
        status, body = raw(target, f"GET {path.replace(' ', '%20')} HTTP/1.1")
        assert status < 500, path
        assert not any(secret in body for secret in ("root:x:", "GRADIO_TEMP_DIR", "[core]", "VIEWS =")), path
    tried(KIND, len(paths))


def raw(
    target: Target, line: str, headers: str = "", body: bytes = b"", seconds: float = 2
) -> tuple[int, str]:
    """A request as it stands, which no library puts in order first; status and what comes within the time."""
    place = urlsplit(target.address)
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as connection:
        head = f"{line}\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
        with suppress(OSError):  # answered before all of it was sent
            connection.sendall(head.encode("latin-1") + body)
        got = b""
        try:
            while len(got) < 1_000_000 and (more := connection.recv(65536)):
                got += more
                if b"session_not_found" in got:
                    break
        except TimeoutError:
            pass
    first = got.split(b"\r\n", 1)[0].split()
    return int(first[1]) if len(first) > 1 else 0, got.decode(errors="replace")


POSTS: list[tuple[str, Any]] = [
    ("/gradio_api/queue/join", body)
    for body in (
        {},
        [],
        "text",
        7,
        None,
        {"data": []},
        {"data": [], "session_hash": "s"},
        {"data": [], "fn_index": 0},
        {"data": [], "fn_index": -1, "session_hash": "s"},
        {"data": [], "fn_index": 10**9, "session_hash": "s"},
        {"data": [], "fn_index": 10**400, "session_hash": "s"},
        {"data": [], "fn_index": "0", "session_hash": "s"},
        {"data": [], "fn_index": 1.5, "session_hash": "s"},
        {"data": [], "fn_index": [0], "session_hash": "s"},
        {"data": [], "fn_index": 0, "session_hash": ""},
        {"data": [], "fn_index": 0, "session_hash": 7},
        {"data": [], "fn_index": 0, "session_hash": "../../x"},
        {"data": [], "fn_index": 0, "session_hash": "x" * 1_000_000},
        {"data": [], "fn_index": 0, "session_hash": "\ud83e"},
        {"data": [], "fn_index": 0, "session_hash": "<img src=x onerror=alert(1)>"},
        {"data": [], "fn_index": 0, "session_hash": "s", "trigger_id": -1},
        {"data": [], "fn_index": 0, "session_hash": "s", "trigger_id": "x"},
        {"data": [], "fn_index": 0, "session_hash": "s", "event_id": "x"},
        {"data": [], "fn_index": 0, "session_hash": "s", "batched": True},
        {"data": [], "fn_index": 0, "session_hash": "s", "oauth_token": "hf_forged"},
    )
] + [
    ("/gradio_api/call/measure", {"data": [], "session_hash": "x" * 1_000_000}),
    ("/gradio_api/call/nothing", {"data": []}),
    ("/gradio_api/call/v2/nothing", {"data": []}),
    ("/gradio_api/call/v2/measure", {"nothing": 1}),
    ("/gradio_api/call/v2/measure", {"source": {"a": 1}, "oauth_token": 7}),
    ("/gradio_api/run/measure", {"data": []}),
    ("/gradio_api/run/nothing", {"data": []}),
    ("/gradio_api/run/predict", {"data": [], "fn_index": 10**9}),
    ("/gradio_api/run/predict", {"data": [], "fn_index": 0, "session_hash": "x" * 1_000_000}),
    ("/gradio_api/api/predict", {"data": [], "fn_index": 0, "session_hash": "s"}),
    ("/gradio_api/component_server", {}),
    ("/gradio_api/component_server", {"data": 1, "component_id": 10**9, "session_hash": "s", "fn_name": "x"}),
    (
        "/gradio_api/component_server",
        {"data": 1, "component_id": 1, "session_hash": "s", "fn_name": "__init__"},
    ),
    ("/gradio_api/component_server", {"data": 1, "component_id": 1, "session_hash": ["s"], "fn_name": "x"}),
    ("/gradio_api/component_server", {"data": 1, "component_id": [1], "session_hash": "s", "fn_name": 1}),
    ("/gradio_api/cancel", {}),
    ("/gradio_api/cancel", {"session_hash": "s", "fn_index": 0, "event_id": "x"}),
    ("/gradio_api/cancel", {"session_hash": "\ud83e", "fn_index": -1, "event_id": "y" * 100_000}),
    ("/gradio_api/reset", {"event_id": "x"}),
    ("/gradio_api/reset", {}),
    ("/gradio_api/stream/x", {"data": []}),
    ("/gradio_api/stream/x/close", {}),
    ("/gradio_api/process_recording", {}),
    ("/gradio_api/vibe-edit", {"prompt": "delete all"}),
    ("/gradio_api/undo-vibe-edit", {"hash": "x"}),
    ("/gradio_api/vibe-code", {"code": "import os"}),
    ("/gradio_api/run-history/connect", {}),
    ("/gradio_api/profiling/clear", {}),
    ("/login", {"username": "x", "password": "y"}),
    ("/gradio_api/queue/data", {}),
]


def test_no_post_breaks_a_route(target: Target, tried: Tried) -> None:
    for path, body in POSTS:
        answer = target.web.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code < 500 or answer.json().get("error"), (
            path,
            str(body)[:200],
            answer.text[:300],
        )
        assert not any(secret in answer.text for secret in SECRETS), (path, answer.text[:300])
    tried(KIND, len(POSTS))


BODIES: dict[str, tuple[str, bytes]] = {
    "no JSON": ("application/json", b"{"),
    "deep JSON": ("application/json", b"[" * 500_000),
    "deep and whole": ("application/json", b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a number of a million digits": ("application/json", b'{"data":[' + b"9" * 1_000_000 + b"]}"),
    "not UTF-8": ("application/json", b'{"data":["\xff\xfe"]}'),
    "NUL": ("application/json", b'{"data":["\x00"]}'),
    "a form": ("application/x-www-form-urlencoded", b"data=1&fn_index=0"),
    "no type": ("", b'{"data":[]}'),
    "a type with a line break": ("text/plain; x=\ty", b"{}"),
    "empty": ("application/json", b""),
    "many keys": ("application/json", b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}"),
    "the same key twice": ("application/json", b'{"fn_index":0,"fn_index":1,"data":[],"session_hash":"s"}'),
}


def test_no_body_breaks_a_route(target: Target, tried: Tried) -> None:
    for name, (kind, body) in BODIES.items():
        for path in ("/gradio_api/queue/join", "/gradio_api/call/measure", "/gradio_api/component_server"):
            answer = target.web.post(path, content=body, headers={"Content-Type": kind} if kind else {})
            assert answer.status_code < 500, (name, path, answer.text[:300])
            tried(KIND)


MILLION: dict[str, bytes] = {
    "lists": b"[" + b",".join([b"[]"] * 1_000_000) + b"]",
    "objects": b"[" + b",".join([b"{}"] * 1_000_000) + b"]",
    "numbers": b"[" + b",".join([b"1"] * 1_000_000) + b"]",
    "names": b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}",
}


@pytest.mark.parametrize("parts", MILLION)
def test_a_million_values_are_not_read(target: Target, tried: Tried, parts: str) -> None:
    """Each would hold up all visitors for seconds: as a handler's values, and in an answer that says what lacks."""
    begin = b'{"fn_index":%d,"session_hash":"s","data":[' % target.handler("run-stop")["id"]
    for body in (begin + MILLION[parts] + b"]}", b'{"x":' + MILLION[parts] + b"}", MILLION[parts]):
        for path in ("/gradio_api/queue/join", "/gradio_api/run/measure", "/gradio_api/component_server"):
            answer = target.web.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413
            assert len(answer.text) < 100
            tried(KIND)


def test_the_server_holds_no_more_than_before(target: Target) -> None:
    assert_no_more_is_held(target)
