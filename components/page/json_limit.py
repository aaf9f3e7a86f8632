"""JSON of a million small values is turned away before anything reads it: four megabytes of `[],[],[]` keep the thread
that answers all visitors busy for ten seconds, what the page sends for some milliseconds."""

from __future__ import annotations

import re
from itertools import islice

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST = 5000
"""Parts of a body; the page's largest have some hundred."""
PART = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[,\[{]', re.DOTALL)
"""A string, whole or without its end, or what begins the next value. Linear in what is sent, whatever it is."""


class JsonLimit:
    """ASGI middleware: 413 for a body of more than `MOST` values, 400 for one that is not in UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    @classmethod
    def middleware(cls) -> Middleware:
        return Middleware(cls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or _is_form(scope):
            await self.app(scope, receive, send)
            return
        messages: list[Message] = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        body = b"".join(message.get("body", b"") for message in messages)
        if (
            b"\0" in body
        ):  # which no JSON in UTF-8 holds, and all in UTF-16, where bytes are not what they seem
            await PlainTextResponse("JSON in UTF-8 alone", 400)(scope, receive, send)
        elif has_too_many_parts(body):
            await PlainTextResponse(f"at most {MOST:,} values a request", 413)(scope, receive, send)
        else:
            await self.app(scope, _again(messages, receive), send)


def has_too_many_parts(body: bytes) -> bool:
    return next(islice(PART.finditer(body), MOST, None), None) is not None


def _is_form(scope: Scope) -> bool:
    """Of these the server bounds the number of fields, and files need not fit into memory."""
    return dict(scope["headers"]).get(b"content-type", b"").lower().startswith(b"multipart/form-data")


def _again(messages: list[Message], receive: Receive) -> Receive:
    """What was received, once more, and then what comes."""
    left = iter(messages)

    async def next_one() -> Message:
        return next(left, None) or await receive()

    return next_one
