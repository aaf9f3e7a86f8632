"""Requests over a size, or that take too long to arrive, are turned away before anything reads them into memory."""

from __future__ import annotations

import asyncio

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 300
"""In which a body must have arrived: whoever sends a byte now and then holds a connection and a file."""


class RequestLimit:
    """ASGI middleware: 413 for a body of more than `most` bytes, announced or sent; cuts off one that takes longer than
    `seconds`."""

    def __init__(self, app: ASGIApp, most: int, seconds: float = SECONDS) -> None:
        self.app = app
        self.most = most
        self.seconds = seconds

    @classmethod
    def sized(cls, most: int) -> Middleware:
        return Middleware(cls, most=most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self.most:
            await self._refuse(scope, receive, send)
            return
        seen, whole, end = 0, False, asyncio.get_running_loop().time() + self.seconds

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:  # what comes now is that the client has left
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self.most:  # sent without saying how much it would be
                return {"type": "http.disconnect"}
            return message

        await self.app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"at most {self.most:,} bytes a request", 413)(scope, receive, send)
