"""The pages themselves, compressed: Gradio's middleware compresses files by their ending, and a page has none."""

from __future__ import annotations

from gradio.brotli_middleware import BrotliMiddleware
from starlette.middleware import Middleware
from starlette.types import Scope

PAGES = ("/", "/learn", "/learn/", "/runs", "/runs/", "/config")


class PageCompression(BrotliMiddleware):
    """ASGI middleware: Brotli, or gzip, for `PAGES` alone. What streams is left as it is."""

    @classmethod
    def middleware(cls) -> Middleware:
        return Middleware(cls)

    def _is_compressible_file_type(self, scope: Scope) -> bool:
        return scope.get("path", "") in PAGES
