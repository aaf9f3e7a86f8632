"""Gradio's own scripts and styles, compressed once: it compresses them for every visitor anew, 0.3 s of the event loop
for a page, and lets browsers ask again for what cannot have changed."""

from __future__ import annotations

import asyncio
import re

import brotli
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HASHED = re.compile(r"/assets/[\w.@-]+-[\w-]{8,9}\.(?:js|css|woff2)")
"""Names that hold a digest of the content: what has such a name never changes."""
MOST = 32_000_000
"""Bytes that are kept; all of a page's files take 3 MB."""


class KeptFiles:
    """ASGI middleware: answers a request for a file of such a name from memory, once one was answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._kept: dict[str, list[Message]] = {}
        self._bytes = 0

    @classmethod
    def middleware(cls) -> Middleware:
        return Middleware(cls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        asked = dict(scope.get("headers", ()))
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or not HASHED.fullmatch(path)
            or b"br" not in asked.get(b"accept-encoding", b"")
            or b"range" in asked
        ):
            await self.app(scope, receive, send)
            return
        kept = self._kept.get(path)
        if kept is None:
            kept = await self._fetched(scope, receive)
            size = len(kept[1]["body"])
            if kept[0]["status"] == 200 and self._bytes + size <= MOST and path not in self._kept:
                self._bytes += size
                self._kept[path] = kept
        for message in kept:
            await send(message)

    async def _fetched(self, scope: Scope, receive: Receive) -> list[Message]:
        """The answer of the app, compressed where that helps."""
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        unconditional = [
            each for each in scope["headers"] if each[0] not in (b"if-none-match", b"if-modified-since")
        ]
        await self.app({**scope, "headers": unconditional}, receive, collect)
        start, body = messages[0], b"".join(message.get("body", b"") for message in messages[1:])
        headers = {key: value for key, value in start["headers"] if key in (b"content-type", b"etag")}
        if start["status"] == 200:
            headers[b"cache-control"] = b"public, max-age=31536000, immutable"
            headers[b"vary"] = b"Accept-Encoding"
            if not scope["path"].endswith(".woff2"):  # which is compressed already
                body = await asyncio.to_thread(brotli.compress, body, quality=5)
                headers[b"content-encoding"] = b"br"
        headers[b"content-length"] = str(len(body)).encode()
        return [{**start, "headers": list(headers.items())}, {"type": "http.response.body", "body": body}]
