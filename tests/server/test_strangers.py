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

from tests.support.requests import SMALL, alive, call, expect_refusal, post, result
from tests.support.server import ROOT, served, server_memory


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of this file's own: its memory is measured, and clients that mean no good leave things behind."""
    with served() as address:
        yield address


@pytest.mark.long
def test_twenty_clients_at_once_get_each_the_right_result(address: str) -> None:
    result(address, "measure", **SMALL)  # what is loaded once
    before = server_memory(address)
    amounts = [str(40 + 10 * (client % 5)) for client in range(20)]
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda amount: result(address, "measure", amounts=[amount], **SMALL), amounts))
    by_amount: dict[str, set[str]] = {}
    for amount, answer in zip(amounts, found, strict=True):
        rows = answer["rows"]
        assert [row["method"] for row in rows] == ["dense", "wanda", "magnitude"]
        assert {row["sparsity"] for row in rows[1:]} == {int(amount) / 100}
        by_amount.setdefault(amount, set()).add(str([row["perplexity"] for row in rows]))
    assert all(len(perplexities) == 1 for perplexities in by_amount.values()), "the same settings gave others"
    assert len({next(iter(each)) for each in by_amount.values()}) == 5
    assert server_memory(address) < before + 200e6


HOSTILE: list[tuple[str, str, Any]] = [
    ("measure", "source", "/etc"),
    ("measure", "source", "../../etc/passwd"),
    ("measure", "source", "assets/pocket"),
    ("measure", "source", "C:\\windows"),
    ("measure", "source", ["pocket"]),
    ("measure", "source", None),
    ("measure", "source", "x" * 100_000),
    ("measure", "calibration", "/etc/passwd"),
    ("measure", "calibration", {"path": "/etc/passwd"}),
    ("measure", "calibration", "file"),
    ("measure", "calibration", "own"),
    ("measure", "evaluation", 7),
    ("measure", "methods", "wanda"),
    ("measure", "methods", ["wanda; rm -rf"]),
    ("measure", "methods", []),
    ("measure", "methods", [["wanda"]]),
    ("measure", "methods", ["wanda"] * 1000),
    ("measure", "methods", ["\ud800"]),
    ("measure", "amounts", ["-1"]),
    ("measure", "amounts", ["1e308"]),
    ("measure", "amounts", ["9" * 400]),
    ("measure", "amounts", ["NaN"]),
    ("measure", "amounts", ["0:0"]),
    ("measure", "amounts", ["99999999999:1"]),
    ("measure", "amounts", [True]),
    ("measure", "amounts", None),
    ("measure", "samples", -5),
    ("measure", "samples", 10**400),
    ("measure", "samples", 16.5),
    ("measure", "samples", math.nan),
    ("measure", "samples", "16"),
    ("measure", "length", 0),
    ("measure", "length", 10**12),
    ("measure", "windows", -1),
    ("measure", "windows", None),
    ("measure", "seeds", "__class__"),
    ("measure", "seeds", "-1"),
    ("measure", "seeds", "1" * 400),
    ("measure", "schedule", "__class__"),
    ("measure", "revision", "--upload-pack=x y"),
    ("measure", "dtype", "object"),
    ("measure", "chat", "yes"),
    ("measure", "int8", "yes"),
    ("measure", "smaller", "/etc/passwd"),
    ("generate", "prompt", ""),
    ("generate", "prompt", None),
    ("generate", "prompt", "x" * 1_000_000),
    ("generate", "prompt", "half a fox \ud83e"),
    ("generate", "new_tokens", -1),
    ("generate", "new_tokens", 10**400),
    ("generate", "new_tokens", "twenty"),
    ("generate", "temperature", -0.1),
    ("generate", "temperature", math.nan),
    ("generate", "temperature", "hot"),
    ("generate", "temperature", True),
    ("generate", "top_p", 0),
    ("generate", "top_p", 1.5),
    ("generate", "text_seed", 2**70),
    ("generate", "method", "best"),
    ("generate", "amount", "5:4"),
    ("generate", "beside", ["magnitude", "ria", "random"]),
    ("generate", "beside", "magnitude"),
    ("ask", "tasks", []),
    ("ask", "tasks", ["/etc/passwd"]),
    ("ask", "tasks", "boolq"),
    ("ask", "limit", 0),
    ("ask", "limit", 10**12),
    ("export", "kind", "zip"),
    ("export", "kind", "../.."),
    ("export", "kind", ["folder"]),
    ("export", "kind", {"path": "/etc/passwd"}),
    ("export", "bits", 5),
    ("measure", "bits", [5]),
    ("measure", "bits", "8"),
    ("export", "bits", "16; rm"),
    ("inspect", "layer", "model.layers.99.mlp"),
    ("inspect", "layer", ["model"]),
    ("inspect", "weight", "3;17"),
    ("inspect", "compare", "best"),
    ("inspect", "method", "__class__"),
    ("latency", "source", "/etc"),
]
GOOD = {"generate": {"prompt": "Long ago,"}, "ask": {"tasks": ["boolq"]}}
"""What these functions cannot do without."""


@pytest.mark.parametrize(("name", "argument", "value"), HOSTILE)
def test_each_hostile_value_is_an_error(address: str, name: str, argument: str, value: Any) -> None:
    small = {} if name == "latency" else {key: SMALL[key] for key in ("source", "samples", "length")}
    expect_refusal(address, name, **(small | GOOD.get(name, {}) | {argument: value}))


def test_a_refusal_calls_the_setting_as_the_page_does(address: str) -> None:
    answer = expect_refusal(address, "measure", **(SMALL | {"samples": 0}))
    assert "Calibration windows must be a whole number" in answer


def test_a_weight_is_explained_by_its_own_arithmetic(address: str) -> None:
    small = {key: SMALL[key] for key in ("source", "samples", "length")}
    layer = "model.layers.0.mlp.down_proj"
    found = result(address, "inspect", layer=layer, weight="3,17", **small)
    assert [recipe["method"] for recipe in found["recipes"]] == ["wanda", "magnitude"]
    (summary,) = (each for each in found["layers"] if each["name"] == layer)
    assert summary["sparsity"] == pytest.approx([0.5, 0.5], abs=0.01)
    weight = found["weight"]
    assert (weight["row"], weight["column"]) == (3, 17)
    wanda, magnitude = weight["decisions"]
    assert magnitude["score"] == pytest.approx(abs(weight["value"]))
    assert wanda["score"] == pytest.approx(abs(weight["value"]) * weight["norm"], rel=1e-5)
    for decision in (wanda, magnitude):  # a threshold is the highest score that is pruned
        assert decision["kept"] == (decision["score"] > decision["threshold"])
    assert "rows and" in expect_refusal(address, "inspect", layer=layer, weight="9999,0", **small)


def test_too_few_values_are_an_error(address: str) -> None:
    assert "error" in post(f"{address}/gradio_api/call/measure", {"data": 3})
    assert alive(address)


def test_a_huge_paste_is_turned_away(address: str) -> None:
    body = json.dumps({"data": ["x" * 100_000_000]}).encode()
    request = urllib.request.Request(
        f"{address}/gradio_api/call/measure", body, {"Content-Type": "application/json"}
    )
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError, ConnectionError)) as refusal:
        urllib.request.urlopen(request, timeout=60)
    assert getattr(refusal.value, "code", 413) == 413
    assert alive(address)


@pytest.mark.long
def test_private_handlers_take_nonsense(address: str) -> None:
    """The queue knows every handler by number, private or not: whatever is sent, the server goes on and says nothing
    of its own."""
    config = json.loads(urllib.request.urlopen(f"{address}/config", timeout=10).read())
    for dependency in config["dependencies"]:
        for data in ([], ["/etc/passwd"] * 40, [None] * 40, [{"path": "/etc/passwd"}] * 40):
            body = {"data": data, "fn_index": dependency["id"], "session_hash": "hostile"}
            answer = post(f"{address}/gradio_api/queue/join", body)
            assert "root:" not in answer
            assert str(ROOT) not in answer
    time.sleep(1)
    assert alive(address)


def test_an_upload_is_served_and_no_other_file_is(address: str) -> None:
    boundary = "x" * 20
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nhello'
        f"\r\n--{boundary}--\r\n"
    ).encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{address}/gradio_api/upload", body, headers)
    (path,) = json.loads(urllib.request.urlopen(request, timeout=10).read())
    served_file = urllib.request.urlopen(f"{address}/gradio_api/file={path}", timeout=10).read()
    assert served_file == b"hello"
    for other in ("/etc/passwd", str(ROOT / "app.py"), str(Path.home()), f"{path}/../../../../etc/passwd"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/gradio_api/file={other}", timeout=10)


def test_no_private_handler_is_in_the_documentation(address: str) -> None:
    info = json.loads(urllib.request.urlopen(f"{address}/gradio_api/info", timeout=60).read())
    named = {name.strip("/") for name in info["named_endpoints"]}
    assert named == {"measure", "inspect", "generate", "ask", "latency", "export"}
    assert str(ROOT) not in json.dumps(info)
    assert call(address, "generate", prompt="Long ago,", new_tokens=2, **{"source": "pocket"}).startswith(
        "event"
    )
