"""Requests to a server without a client that would check them first."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.support.server import ROOT

DEFAULT = [
    "pocket",
    "stories",
    "stories",
    "",
    ["magnitude", "wanda"],
    70,
    "unstructured",
    16,
    256,
    32,
    "layer",
    0,
]


def post(url: str, body: Any) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} event: error {error.read().decode()[:300]}"


def call(address: str, name: str, values: list[Any]) -> str:
    """Raw events of one call, without a client that would check the values first."""
    answer = post(f"{address}/gradio_api/call/{name}", {"data": values})
    if "event_id" not in answer:
        return answer
    event = json.loads(answer)["event_id"]
    return urllib.request.urlopen(f"{address}/gradio_api/call/{name}/{event}", timeout=120).read().decode()


def expect_refusal(address: str, name: str, values: list[Any]) -> None:
    """One sentence of ours, nothing of the server's, and it goes on."""
    answer = call(address, name, values)
    assert 'role=\\"alert\\"' in answer, answer[:500]
    assert "Internal error" not in answer
    assert "root:" not in answer
    assert str(ROOT) not in answer
    assert alive(address)


def alive(address: str) -> bool:
    return urllib.request.urlopen(address, timeout=20).status == 200
