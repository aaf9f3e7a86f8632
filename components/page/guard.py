"""Requests that no page of ours sends: Gradio's routes break off on some, and fetch what strangers name for others."""

from __future__ import annotations

import asyncio
import logging

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.uploads import make_room

ELSEWHERE = ("file=http:", "file=https:", "file/http:", "file/https:", "proxy=")
"""Ends of routes by which the server would fetch what is on another machine."""


class Guard:
    """ASGI middleware: 403 for what lies elsewhere, 400 where a route breaks off, and an end to
    a stream that does; makes room for uploads."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    @classmethod
    def middleware(cls) -> Middleware:
        return Middleware(cls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, begun, streamed = scope.get("path", ""), False, False
        if path.removeprefix("/gradio_api/").lower().startswith(ELSEWHERE):
            await PlainTextResponse("only files of this server", 403)(scope, receive, send)
            return
        if scope["method"] == "POST" and path.rstrip("/").endswith("/upload"):
            announced = dict(scope["headers"]).get(b"content-length", b"")
            await asyncio.to_thread(make_room, int(announced) if announced.isdigit() else 0)

        async def noted(message: Message) -> None:
            nonlocal begun, streamed
            begun = True
            if message["type"] == "http.response.start":
                streamed = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:  # of a route: what our own functions raise, Gradio tells the visitor
            logging.getLogger(__name__).warning("%s %.200r: %s", scope["method"], path, type(error).__name__)
            if not begun:
                await PlainTextResponse("this is no request of the page", 400)(scope, receive, send)
            elif streamed:  # Gradio's messages to a session that there is not: they said so, and end
                await send({"type": "http.response.body", "body": b""})
