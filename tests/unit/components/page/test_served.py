"""What the server sends of a page, through the middleware that it is launched with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import gradio as gr
import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from components.assets import ASSETS
from components.lab import middleware
from components.page.header import HEAD
from components.page.kept_files import HASHED, KeptFiles


class Tags(HTMLParser):
    """Contents of the `meta` elements, by name or property, in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        said = dict(attributes)
        key = said.get("property") or said.get("name")
        if tag == "meta" and key:
            self.found.setdefault(key, []).append(said.get("content") or "")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with gr.Blocks(title="Wanda Lab") as demo:
        gr.HTML("<p>here</p>")
    demo.launch(
        head=HEAD,
        app_kwargs={"middleware": middleware()},
        prevent_thread_lock=True,
        ssr_mode=False,
        quiet=True,
    )
    with httpx.Client(base_url=demo.local_url) as asked:
        yield asked
    demo.close()


def test_a_preview_is_of_the_lab_alone(client: httpx.Client) -> None:
    html = client.get("/", headers={"host": "lab.example", "x-forwarded-proto": "https"}).text
    tags = Tags(html).found
    assert tags["og:title"] == ["Wanda Lab"]
    assert tags["og:image"] == ["https://lab.example/preview.png"]
    assert len(tags["og:description"]) == len(tags["description"]) == 1
    assert "twitter:title" not in tags
    picture = client.get("/preview.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == (ASSETS / "screenshot.png").read_bytes()


def test_a_hostile_host_is_text(client: httpx.Client) -> None:
    html = client.get("/", headers={"host": 'a"><script>alert(1)</script>'}).text
    assert "<script>alert(1)" not in html


def test_a_page_is_compressed_and_whole(client: httpx.Client) -> None:
    plain = client.get("/", headers={"accept-encoding": "identity"})
    packed = client.get("/", headers={"accept-encoding": "br"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "br"
    assert packed.text.rstrip().endswith("</html>")
    assert int(packed.headers["content-length"]) < len(plain.content) / 2


def _script(client: httpx.Client) -> str:
    found = re.search(r"assets/index-[\w-]+\.js", client.get("/").text)
    assert found
    return f"/{found[0]}"


def test_a_file_is_compressed_and_kept_by_browsers(client: httpx.Client) -> None:
    path = _script(client)
    plain = client.get(path, headers={"accept-encoding": "identity"})
    for _ in range(2):
        packed = client.get(
            path, headers={"accept-encoding": "gzip, br", "if-none-match": plain.headers["etag"]}
        )
        assert packed.content == plain.content
        assert packed.headers["content-encoding"] == "br"
        assert packed.headers["content-type"] == plain.headers["content-type"]
        assert "immutable" in packed.headers["cache-control"]
    assert "cache-control" not in plain.headers


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


def test_what_is_not_there_is_not_kept(client: httpx.Client) -> None:
    for _ in range(2):
        missing = client.get("/assets/nothing-DphvyggB.js", headers={"accept-encoding": "br"})
        assert missing.status_code == 404
        assert "immutable" not in missing.headers.get("cache-control", "")
