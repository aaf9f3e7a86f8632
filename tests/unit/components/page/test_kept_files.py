"""Which answers are kept, and how often the app is asked."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from components.page.kept_files import HASHED, KeptFiles


def test_a_file_is_read_once_and_ranges_as_they_are_asked_for() -> None:
    asked = []

    async def files(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await PlainTextResponse("x" * 1000)(scope, receive, send)

    client = TestClient(KeptFiles(files))
    for _ in range(3):
        assert client.get("/assets/one-DphvyggB.js", headers={"accept-encoding": "br"}).text == "x" * 1000
    assert len(asked) == 1
    for headers in ({"range": "bytes=0-1", "accept-encoding": "br"}, {"accept-encoding": "gzip"}):
        client.get("/assets/one-DphvyggB.js", headers=headers)
    client.head("/assets/one-DphvyggB.js")
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/assets/index-DphvyggB.js", True),
        ("/assets/Index-Akn07EZk2.js", True),
        ("/assets/../app-DphvyggB.py", False),
        ("/assets/sub/index-DphvyggB.js", False),
        ("/assets/index.js", False),
        ("/gradio_api/file=assets/index-DphvyggB.js", False),
    ],
)
def test_only_names_with_a_digest_are_kept(path: str, kept: bool) -> None:
    assert bool(HASHED.fullmatch(path)) is kept
