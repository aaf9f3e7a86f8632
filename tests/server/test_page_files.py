"""What the server sends of a page, through its middleware."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest

from components.assets import ASSETS
from tests.support.server import served


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
    with served() as address, httpx.Client(base_url=address, timeout=60) as asked:
        yield asked


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


def test_what_is_not_there_is_not_kept(client: httpx.Client) -> None:
    for _ in range(2):
        missing = client.get("/assets/nothing-DphvyggB.js", headers={"accept-encoding": "br"})
        assert missing.status_code == 404
        assert "immutable" not in missing.headers.get("cache-control", "")
