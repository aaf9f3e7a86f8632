"""What a shared link shows: Gradio's page begins with tags of its own, and whoever makes a preview takes the first."""

from __future__ import annotations

import os
import re
from html import escape

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.assets import ASSETS
from components.page.compression import PAGES

TITLE = "Wanda Lab"
LINE = "How much can be pruned out of this language model, and what does it cost?"
PICTURE = "/preview.png"
TAGS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:|name="description")[^>]*>\s*')


class Preview:
    """ASGI middleware: puts the page's own tags in place of all others, and serves the picture that they name."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    @classmethod
    def middleware(cls) -> Middleware:
        return Middleware(cls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path == PICTURE:
            await FileResponse(ASSETS / "screenshot.png")(scope, receive, send)
            return
        if scope["type"] != "http" or path not in PAGES:
            await self.app(scope, receive, send)
            return
        begun: list[Message] = []
        body = b""

        async def rewritten(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            headers = Headers(raw=begun[0]["headers"]).mutablecopy()
            content = body
            if headers.get("content-type", "").startswith("text/html"):
                content = TAGS.sub(b"", body).replace(b"<head>", b"<head>" + _tags(scope), 1)
                headers["content-length"] = str(len(content))
            await send({**begun[0], "headers": headers.raw})
            await send({"type": "http.response.body", "body": content})

        await self.app(scope, receive, rewritten)


def _tags(scope: Scope) -> bytes:
    asked = Headers(scope=scope)
    space = os.environ.get("SPACE_HOST")
    scheme = asked.get("x-forwarded-proto", scope["scheme"]).split(",")[0]
    address = f"https://{space}" if space else f"{scheme}://{asked.get('host', '')}"
    picture = escape(f"{address}{scope.get('root_path', '')}{PICTURE}", quote=True)
    said = {"title": TITLE, "description": LINE, "type": "website", "image": picture}
    tags = "".join(f'<meta property="og:{key}" content="{value}">' for key, value in said.items())
    tags += '<meta name="twitter:card" content="summary_large_image">'
    return f'<meta name="description" content="{LINE}">{tags}'.encode()
