"""Visitors of one server, who come together, leave when they like, and mean no good: what they share has bounds, and
nobody waits for another or gets at what is another's."""

from __future__ import annotations

import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from components import lab
from components.inside import handlers
from components.limits import LIMITS
from components.page.blocks import Blocks
from components.recipe.estimate import estimate
from components.workspace import models
from components.workspace.defaults import DEFAULTS
from tests.attack.client import Target, attacked

Tried = Callable[..., None]
SHORT = {"samples": 2, "length": 64, "windows": 2, "amounts": ["50"]}
LONG = {"samples": 120, "length": 256, "windows": 120, "amounts": ["30", "40", "50", "60", "70"]}
"""Half a minute."""
WAITS = "In the queue"
AT_MOST = 300
"""Seconds, of tests that would otherwise never end."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A public server; afterwards its log is clean."""
    with attacked(tmp_path_factory.mktemp("visitors"), WANDA_LAB_PUBLIC="1") as target:
        assert "Done in" in Visitor(target).run(**SHORT)
        yield target
        log = target.log_since(0)
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]


class Visitor:
    """A browser with a page of its own."""

    def __init__(self, target: Target, place: str = "") -> None:
        self.target = target
        self.browser = secrets.token_urlsafe(24)
        self.session = secrets.token_hex(6)
        self.place = place or f"8.8.{secrets.randbelow(256)}.{secrets.randbelow(256)}"

    def press(self, **chosen: Any) -> None:
        """Run, without reading what comes of it."""
        run = self.target.handler("run")
        usual = {"model": "pocket", "calibration": "stories", "evaluation": "stories"}
        values = self.target.usual(run, **usual | chosen)
        self._send(run, [self.browser, *values[1:]])

    def stop(self) -> None:
        self._send(self.target.handler("run-stop"), [self.browser])

    def find(self) -> None:
        """What a page does when it is loaded: look for a run of this browser."""
        status = self.target.number_of("status")
        for each in self.target.handlers:
            if each["targets"] and each["targets"][0][1] == "change" and status in each["outputs"]:
                self._send(each, [self.browser])

    def reload(self) -> None:
        self.session = secrets.token_hex(6)
        self.find()

    def _send(self, handler: dict[str, Any], data: list[Any]) -> None:
        assert self.target.join(handler, data, self.session, self.place).status_code == 200

    def read(self, seconds: float = AT_MOST) -> str:
        """All that is said until it is over, or the page is left after so many seconds."""
        end, said = time.monotonic() + seconds, ""
        asked = {"session_hash": self.session}
        patience = httpx.Timeout(60, read=min(60, seconds))
        try:
            with self.target.web.stream(
                "GET", "/gradio_api/queue/data", params=asked, timeout=patience
            ) as lines:
                for line in lines.iter_lines():
                    said += line
                    if "close_stream" in line or "unexpected_error" in line or time.monotonic() > end:
                        break
        except httpx.ReadTimeout:
            assert seconds < AT_MOST, "nothing was said for a minute"
        return said

    def run(self, **chosen: Any) -> str:
        self.press(**chosen)
        return self.read()


@pytest.mark.long
def test_thirty_visitors_who_leave_at_any_moment(target: Target, tried: Tried) -> None:
    """Those who stay get their results, and what the others have left is not computed to its end."""
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")

    def visit(number: int) -> None:
        draw = random.Random(f"{seed} {number}")
        visitor, manner = Visitor(target), ("stays", "leaves", "stops", "reloads", "never reads")[number % 5]
        if manner in ("stays", "reloads"):  # the same as others, or not
            visitor.press(**SHORT | {"amounts": [draw.choice(["30", "40"])], "seeds": draw.choice("01")})
        else:
            visitor.press(**LONG | {"seeds": str(number)})
        moment = draw.uniform(0.1, 6)
        if manner == "stops":
            threading.Timer(moment, visitor.stop).start()
            said = visitor.read()
            assert "Stopped" in said or "Done in" in said, said[-1000:]
        elif manner in ("leaves", "reloads"):
            visitor.read(moment)
        if manner == "reloads":
            visitor.reload()
        if manner in ("stays", "reloads"):
            said = visitor.read()
            assert "Done in" in said, said[-1000:]
        tried("visitors")

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(visit, range(30)))
    end = time.monotonic() + 60
    while WAITS in (said := Visitor(target).run(**SHORT)):
        assert time.monotonic() < end, "runs that nobody waits for hold the queue"
    assert "Done in" in said


@pytest.mark.long
def test_one_address_with_fifty_posts_and_no_page(target: Target, tried: Tried) -> None:
    """It has a share of the queue; shorter runs of others pass, and later its own."""
    place = "8.8.8.8"
    posts = [Visitor(target, place) for _ in range(50)]
    for number, visitor in enumerate(posts):
        visitor.press(**LONG | {"seeds": str(1000 + number)})
        tried("visitors")
    said = [visitor.read(1) for visitor in posts[-10:]]
    assert sum("runs from your address are waiting already" in each for each in said) == 10, said[-1][:1000]
    other = Visitor(target, "8.8.4.4").run(**SHORT | {"amounts": ["45"]})
    assert "Done in" in other, other[-1000:]
    # Nobody reads of its runs: after a while they are dropped.
    end = time.monotonic() + 90
    while "runs from your address" in (later := Visitor(target, place).run(**SHORT | {"amounts": ["55"]})):
        assert time.monotonic() < end
        time.sleep(3)
    assert "Done in" in later, later[-1000:]


@pytest.mark.long
def test_nobody_gets_at_a_run_by_another_name(target: Target, tried: Tried) -> None:
    """Its key is the browser's own id, which no answer holds; a session's name is none, nor is a part of either."""
    owner = Visitor(target)
    owner.press(**LONG | {"seeds": "77"})
    forged = [
        owner.session, f"session {owner.session}", f"visitor {owner.browser}", owner.browser[:-1],
        owner.browser.swapcase(), owner.browser + "=", f" {owner.browser}", [owner.browser],
        {"visitor": owner.browser}, "", None,
    ]  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        own = pool.submit(owner.read)
        for name in forged:
            for session in (secrets.token_hex(6), owner.session[:-1], owner.session.upper()):
                stranger = Visitor(target)
                stranger.browser, stranger.session = name, session  # type: ignore[assignment]
                stranger.stop()
                stranger.find()
                said = stranger.read(5)
                assert "Wanda" not in said, said[:1000]
                assert "<progress" not in said, said[:1000]
                tried("forged names")
        # With the session's own name, but not the browser's id.
        for name in (None, secrets.token_urlsafe(24), owner.session):
            assert target.join(target.handler("run-stop"), [name], owner.session).status_code == 200
            tried("forged names")
        for path in (
            "/config",
            "/gradio_api/info",
            "/gradio_api/queue/status",
            "/gradio_api/app_id",
            "/monitoring",
        ):
            told = target.web.get(path).text
            assert owner.session not in told, path
            assert owner.browser not in told, path
        said = own.result(AT_MOST)
    assert "Done in" in said, said[-1000:]
    assert owner.browser not in said


@pytest.mark.long
def test_slow_uploads_delay_nobody(target: Target, tried: Tried) -> None:
    """Twenty that arrive byte by byte, and in the meantime another's upload and run."""
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    kind = "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    begin = '--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    place, over = urlsplit(target.address), threading.Event()

    def drip(slow: socket.socket) -> None:
        while not over.wait(0.2):
            slow.sendall(b"x")

    with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
        for _ in range(20):
            slow = stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))
            slow.sendall((head + kind + begin).encode())
            pool.submit(drip, slow)
            tried("slow uploads")
        try:
            time.sleep(1)
            sent = target.web.post("/gradio_api/upload", files={"files": ("a.txt", b"fast")}, timeout=30)
            assert Path(sent.json()[0]).read_bytes() == b"fast"
            assert target.web.get("/config", timeout=30).status_code == 200
            assert "Done in" in Visitor(target).run(**SHORT | {"amounts": ["35"]})
        finally:
            over.set()
    # Cut off in the middle, they leave nothing that looks whole.
    whole = [file for file in (target.log.parent / "uploads").rglob("*") if file.name == "a.txt"]
    assert [file.read_bytes() for file in whole] == [b"fast"]


def test_sessions_are_bounded_and_nothing_watches_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: dict[str, Any] = {}
    monkeypatch.setattr(Blocks, "launch", lambda _, **settings: launched.update(settings))
    monkeypatch.setattr(Blocks, "block_thread", lambda _: None)
    monkeypatch.setattr(lab, "warm_up", lambda _: None)
    lab.serve(Blocks(analytics_enabled=False), port=None, mcp=False, warm="pocket")
    assert launched["state_session_capacity"] == LIMITS.sessions <= 1000
    assert launched["enable_monitoring"] is False


def test_no_control_waits_for_a_model_that_loads() -> None:
    """While another's model loads, for minutes where it is fetched, every control of a page answers."""
    focus = lab._first_focus("pocket")
    values = DEFAULTS | {"source": "pocket", "calibration": "stories", "evaluation": "stories"}
    values |= {"amounts": ["50"], "methods": ["wanda"], "focus": focus, "shown": None, "weight": ""}
    done = []

    def ask() -> None:
        handlers.opened_tab(values, ["pocket"])
        handlers.arrived(values, ["pocket"])
        handlers.redrawn(values)
        estimate(values, ["pocket"])
        done.append(True)

    with models._loading:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(60)
    assert done
