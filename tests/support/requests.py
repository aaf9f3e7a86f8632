"""Requests to a server without a client that would check them first."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import cache
from typing import Any

from tests.support.server import ROOT

SMALL = {"source": "pocket", "samples": 2, "length": 64, "windows": 2}
"""A run of a second."""


def post(url: str, body: Any) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} event: error {error.read().decode()[:300]}"


@cache
def parameters(address: str, name: str) -> list[dict[str, Any]]:
    """What a function of the API takes, as the server says."""
    info = json.loads(urllib.request.urlopen(f"{address}/gradio_api/info", timeout=60).read())
    return info["named_endpoints"][f"/{name}"]["parameters"]


def call(address: str, name: str, **values: Any) -> str:
    """Raw events of one call by named arguments; the others have their defaults."""
    data = [
        values.get(parameter["parameter_name"], parameter.get("parameter_default"))
        for parameter in parameters(address, name)
    ]
    answer = post(f"{address}/gradio_api/call/{name}", {"data": data})
    if "event_id" not in answer:
        return answer
    event = json.loads(answer)["event_id"]
    return urllib.request.urlopen(f"{address}/gradio_api/call/{name}/{event}", timeout=300).read().decode()


def result(address: str, name: str, **values: Any) -> Any:
    """What a call gives."""
    answer = call(address, name, **values)
    assert "event: complete" in answer, answer[:500]
    # Heartbeats may come before it.
    data = answer.split("event: complete", 1)[1].split("data: ", 1)[1].splitlines()[0]
    return json.loads(data)[0]


def expect_refusal(address: str, name: str, **values: Any) -> str:
    """An error of one sentence, nothing of the server's in it, and the server goes on."""
    answer = call(address, name, **values)
    assert "event: error" in answer, answer[:500]
    assert "nternal error" not in answer
    assert "Traceback" not in answer
    assert "root:" not in answer
    assert str(ROOT) not in answer
    assert alive(address)
    return answer


def alive(address: str) -> bool:
    return urllib.request.urlopen(address, timeout=20).status == 200
