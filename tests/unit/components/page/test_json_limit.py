"""Bodies that are turned away for their number of values, and those that are not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from components.page import json_limit
from components.page.json_limit import MOST, PART, JsonLimit

LARGE = 2 * MOST


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


CLIENT = TestClient(JsonLimit(Starlette(routes=[Route("/", length, methods=["POST", "GET"])])))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps([[]] * LARGE), 413),
        (json.dumps([{}] * LARGE), 413),
        (json.dumps([""] * LARGE), 413),
        (json.dumps([1] * LARGE), 413),
        (json.dumps({str(number): 1 for number in range(LARGE)}), 413),
        ("[" * LARGE, 413),
        ('"' * LARGE * 2, 413),
        (json.dumps({"data": ["\\", [[]] * LARGE]}), 413),
        (json.dumps({"data": ["[]" * LARGE]}), 200),
        (json.dumps({"data": [',"[{' * LARGE]}), 200),
        (json.dumps({"data": ["\\" * LARGE, '"']}), 200),
        ('"' + '\\"' * LARGE, 200),  # without an end: no JSON, and none of our concern
        (json.dumps([1] * (MOST // 2)), 200),
        (json.dumps(["∴", [[]] * LARGE], ensure_ascii=False).encode("utf-16-le"), 400),
        ("", 200),
    ],
)
def test_what_is_turned_away(body: str | bytes, status: int) -> None:
    sent = body.encode() if isinstance(body, str) else body
    answer = CLIENT.post("/", content=sent)
    assert answer.status_code == status
    if status == 200:  # whole
        assert answer.text == str(len(sent))


def test_a_body_that_comes_in_pieces_arrives_whole() -> None:
    pieces = [b'{"data": [', b'"x", ', b"7]}"]
    assert CLIENT.post("/", content=iter(pieces)).text == str(sum(map(len, pieces)))


def test_files_pass_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_limit, "has_too_many_parts", lambda _: True)
    assert CLIENT.post("/", files={"files": ("a.txt", b"[" * LARGE)}).status_code == 200
    assert CLIENT.post("/", content=b"{}").status_code == 413
    assert CLIENT.get("/").status_code == 200


def values(content: Any) -> int:
    """Values in some JSON, and names of its objects."""
    if isinstance(content, list):
        return 1 + sum(map(values, content))
    if isinstance(content, dict):
        return 1 + sum(1 + values(value) for value in content.values())
    return 1


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_value_is_hidden(content: Any) -> None:
    """Of all that Python's own parser finds, at most half is not seen: a number has no mark of its own, but the comma
    before it."""
    for ascii_only in (True, False):
        body = json.dumps(content, ensure_ascii=ascii_only).encode(errors="surrogatepass")
        found = len(PART.findall(body))
        assert values(content) <= found + 1 <= 2 * values(content) + 1
