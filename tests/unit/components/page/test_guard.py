"""What the guard answers itself, and what it leaves to the app."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from components.page.guard import Guard


async def routes(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/breaks":
        raise KeyError(scope["path"])
    if scope["path"].startswith("/breaks-late"):
        length = [(b"content-length", b"9")] if "sized" in scope["path"] else []
        await send({"type": "http.response.start", "status": 200, "headers": length})
        raise OSError("gone")
    await PlainTextResponse("fine")(scope, receive, send)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return TestClient(Guard(routes), raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/gradio_api/file=http://example.com/a", 403),
        ("/gradio_api/file=HTTPS://example.com/a", 403),
        ("/gradio_api/file/https://example.com/a", 403),
        ("/gradio_api/proxy=https://example.com/a", 403),
        ("/gradio_api/file=/tmp/a", 200),
        ("/", 200),
        ("/breaks", 400),
    ],
)
def test_what_is_answered(client: TestClient, path: str, status: int) -> None:
    assert client.get(path).status_code == status


def test_a_route_that_breaks_off_is_a_line_of_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        client.get("/breaks")
    (line,) = [record for record in caplog.records if record.name.startswith("components")]
    assert line.getMessage() == "GET '/breaks': KeyError"
    assert not line.exc_info


@pytest.mark.parametrize(("path", "ends"), [("/breaks-late", True), ("/breaks-late-sized", False)])
def test_a_stream_that_breaks_off_is_ended(path: str, ends: bool) -> None:
    """Else the server says an error for each; a body that lacks bytes is not said to be whole."""
    sent: list[Message] = []

    async def ask() -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            sent.append(message)

        await Guard(routes)({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)

    asyncio.run(ask())
    assert (sent[-1]["type"] == "http.response.body" and not sent[-1].get("more_body")) == ends
