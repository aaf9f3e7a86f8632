"""ZeroGPU's device API on the loopback: it grants devices, or refuses them, and remembers what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DAILY_SECONDS = 120
"""Of a visitor without an account."""


class DeviceApi:
    """What `spaces` talks to. A device is taken from `schedule` to `release`; whoever had it may have it again."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        """Seconds of every request for a device, after the factor of the device."""
        self.refuse = False
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    def answer(self, path: str, given: dict[str, str]) -> tuple[int, object]:
        with self._lock:
            if path == "/schedule":
                seconds = int(given["durationSeconds"])
                self.asked.append(seconds)
                if self.refuse or seconds > DAILY_SECONDS:
                    return 429, {"left": 3, "wait": "PT20H" if seconds <= DAILY_SECONDS else "-PT1S"}
                index = next(n for n in range(99) if n not in self._taken.values())
                token = f"token-{len(self.asked)}"
                self._taken[token] = index
                return 200, {
                    "idle": True,
                    "nvidiaIndex": index,
                    "nvidiaUUID": f"GPU-{index}",
                    "allowToken": token,
                }
            if path == "/release":
                known = self._taken.pop(given["allowToken"], None)
                return (200, None) if known is not None else (404, None)
            return 200, None  # startup-report, allow


@contextmanager
def device_api() -> Iterator[tuple[DeviceApi, str]]:
    """The API and its address."""
    api = DeviceApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            status, body = api.answer(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
