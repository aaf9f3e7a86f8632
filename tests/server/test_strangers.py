"""The server behind the page, without a browser: many clients at once, and clients that mean no good."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from tests.support.requests import DEFAULT, alive, call, expect_refusal, post
from tests.support.server import ROOT, served, server_memory


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of this file's own: its memory is measured, and clients that mean no good leave things behind."""
    with served() as address:
        yield address


def ask(address: str, *values: Any) -> tuple[str, str]:
    """One run through the API; its last status and summary."""
    status, summary, *_ = Client(address, verbose=False).predict(*values, api_name="/run")
    return status, summary


def test_twenty_clients_at_once_get_each_the_right_result(address: str) -> None:
    ask(address, *DEFAULT)  # what is loaded once
    before = server_memory(address)
    settings = [[*DEFAULT[:5], 40 + 10 * (client % 5), *DEFAULT[6:]] for client in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda values: ask(address, *values), settings))
    for values, (status, summary) in zip(settings, answers, strict=True):
        assert "Done in" in status
        assert f"Wanda {values[5]}%" in summary
    assert len({summary for _, summary in answers}) == 5, "the same settings gave different results"
    assert server_memory(address) < before + 200e6


HOSTILE: list[tuple[int, Any]] = [
    (0, "/etc"),
    (0, "../../etc/passwd"),
    (0, "assets/pocket"),
    (0, "C:\\windows"),
    (0, ["pocket"]),
    (0, None),
    (0, "x" * 100_000),
    (1, "/etc/passwd"),
    (1, {"path": "/etc/passwd"}),
    (2, "own"),
    (2, 7),
    (4, "wanda"),
    (4, ["wanda; rm -rf"]),
    (4, []),
    (4, [["wanda"]]),
    (4, ["wanda"] * 10_000),
    (5, -1),
    (5, 1e308),
    (5, 10**400),
    (5, "1e999"),
    (5, math.inf),
    (5, "NaN"),
    (5, math.nan),
    (5, None),
    (5, True),
    (6, "0:0"),
    (6, "99999999999:1"),
    (6, None),
    (7, -5),
    (7, 10**30),
    (7, 10**400),
    (7, 16.5),
    (7, math.nan),
    (7, True),
    (7, "16"),
    (7, "sixteen"),
    (8, 0),
    (8, 10**12),
    (9, -1),
    (9, None),
    (10, "__class__"),
    (11, -1),
    (11, 2**70),
    (11, 10**400),
    (11, math.inf),
    (11, "1e999"),
]


@pytest.mark.parametrize(("place", "value"), HOSTILE)
def test_hostile_values_are_an_error_each(address: str, place: int, value: Any) -> None:
    values = [*DEFAULT]
    values[place] = value
    expect_refusal(address, "run", values)


def test_half_a_character_is_refused(address: str) -> None:
    values = [DEFAULT[0], "own", DEFAULT[2], "the fox \ud83e ran " * 500, *DEFAULT[4:]]
    expect_refusal(address, "run", values)


@pytest.mark.parametrize("kind", ["zip", "../..", None, ["folder"], {"path": "/etc/passwd"}, 7])
def test_hostile_exports_are_an_error_each(address: str, kind: Any) -> None:
    answer = call(address, "export", [kind, *DEFAULT])
    assert "event: error" in answer or 'role=\\"alert\\"' in answer, answer[:500]
    assert "root:" not in answer
    assert alive(address)


def test_too_few_values_are_an_error(address: str) -> None:
    assert "error" in call(address, "run", [])
    assert alive(address)


def test_a_huge_paste_is_turned_away(address: str) -> None:
    body = json.dumps({"data": [*DEFAULT[:3], "x" * 100_000_000, *DEFAULT[4:]]}).encode()
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError, ConnectionError)) as refusal:
        urllib.request.urlopen(
            urllib.request.Request(
                f"{address}/gradio_api/call/run", body, {"Content-Type": "application/json"}
            ),
            timeout=60,
        )
    assert getattr(refusal.value, "code", 413) == 413
    assert alive(address)


def test_private_endpoints_take_nonsense(address: str) -> None:
    """The queue knows every handler by number, private or not."""
    config = json.loads(urllib.request.urlopen(f"{address}/config", timeout=10).read())
    for dependency in config["dependencies"]:
        for data in ([], ["/etc/passwd"] * 30, [None] * 30, [{"path": "/etc/passwd"}] * 30):
            body = {"data": data, "fn_index": dependency["id"], "session_hash": "hostile"}
            post(f"{address}/gradio_api/queue/join", body)
    time.sleep(1)
    assert alive(address)


@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "app.py"), str(Path.home())])
def test_no_file_of_the_server_is_served(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{address}/gradio_api/file={path}", timeout=10)
