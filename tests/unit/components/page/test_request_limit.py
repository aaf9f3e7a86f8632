"""A body over the limit never reaches the app, whether it is announced or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from components.page.request_limit import RequestLimit

MOST = 10


class App:
    """Reads the whole body, as Gradio does."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.body: bytes | None = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope["type"])
        while True:
            message = await receive()
            if message["type"] != "http.request":
                self.body = None
                return
            self.body += message["body"]
            if not message.get("more_body"):
                return


def request(
    app: App, parts: list[bytes], *, announced: bytes | None = None, kind: str = "http"
) -> int | None:
    """Send a request through the limit; the status where the limit itself answered."""
    messages = [
        {"type": "http.request", "body": part, "more_body": n + 1 < len(parts)}
        for n, part in enumerate(parts)
    ]
    answers: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [] if announced is None else [(b"content-length", announced)]
    scope = {"type": kind, "headers": headers, "method": "POST", "path": "/"}
    asyncio.run(RequestLimit(app, MOST)(scope, receive, send))
    return next((answer["status"] for answer in answers if "status" in answer), None)


@pytest.mark.parametrize("parts", [[b"x" * MOST], [b"x"] * MOST, [b""]])
def test_what_fits_arrives_whole(parts: list[bytes]) -> None:
    app = App()
    assert request(app, parts, announced=str(sum(map(len, parts))).encode()) is None
    assert app.body == b"".join(parts)


@pytest.mark.parametrize("announced", [b"11", b"99999999999999999999", b"-1", b"ten", b""])
def test_what_announces_too_much_or_nonsense_is_refused_unread(announced: bytes) -> None:
    app = App()
    assert request(app, [b"x"], announced=announced) == 413
    assert app.scopes == []


@pytest.mark.parametrize("announced", [None, b"1"])
def test_more_than_was_announced_is_cut_off(announced: bytes | None) -> None:
    app = App()
    request(app, [b"x" * 6, b"x" * 6, b"never read"], announced=announced)
    assert app.body is None


def test_one_that_never_comes_to_its_end_is_cut_off() -> None:
    app = App()

    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "headers": [], "method": "POST", "path": "/"}
    asyncio.run(RequestLimit(app, MOST, seconds=0.2)(scope, receive, send))
    assert app.body is None


def test_what_is_no_request_passes() -> None:
    app = App()
    assert request(app, [b"x" * 100], kind="websocket", announced=b"100") is None
    assert app.scopes == ["websocket"]
