"""What the attacks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attack.client import BUTTONS, TINY, Target, asked, attacked, held
from tests.attack.model_use import MOST, parquet_of, use, written
from tests.support import gguf, memory
from tests.support.attack_table import ANSWERED, PROPERTY
from tests.support.requests import SMALL, result
from wanda_core.machine import give_back
from wanda_core.texts import chat, windows
from wanda_core.texts.sources import read_text


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`tried("hostile files", 3)`: so many more attempts, one where left out, for the table at the end. They count as
    passed where the test passes."""

    def count(kind: str, number: int = 1) -> None:
        request.node.user_properties.append((PROPERTY, (kind, number)))
        if "warm_server" in request.fixturenames:
            answered = request.getfixturevalue("warm_server").answered
            request.node.user_properties.append((ANSWERED, [answered.pop() for _ in range(len(answered))]))

    return count


@pytest.fixture(scope="session")
def warm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that has done once whatever a visitor may ask for: what it loads for that stays. Meanwhile, and during
    the attack, another visitor's page is asked for."""
    with (
        attacked(tmp_path_factory.mktemp("server")) as target,
        asked(target.address) as target.answered,
    ):
        result(target.address, "measure", **SMALL)
        for button in BUTTONS:  # whatever a kind of run loads once
            handler = target.handler(button)
            target.press(handler, target.usual(handler, **TINY))
        for handler in target.handlers:  # and whatever a control does
            if not target.runs_whatever_it_gets(handler):
                target.press_all(handler, [target.usual(handler), [None] * len(handler["inputs"])])
        target.memory = held(target.address)
        target.answered.clear()
        yield target


@pytest.fixture(scope="module")
def target(warm_server: Target) -> Iterator[Target]:
    """The server, for a file's tests; afterwards its log is clean, and an ordinary run works."""
    begin = len(warm_server.log_since(0))
    yield warm_server
    assert result(warm_server.address, "measure", **SMALL)["rows"]
    log = warm_server.log_since(begin)
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
    assert "ERROR" not in log


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is tried in a process of its own is given up sooner than elsewhere."""
    monkeypatch.setattr(chat, "SECONDS", 2)
    monkeypatch.setattr(windows, "SECONDS", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def warm(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What ordinary work imports and keeps is there before memory is looked at."""
    folder = tmp_path_factory.mktemp("warm")
    use(llama_folder, folder / "out")
    for name, make in {
        "a.csv": written("text\nwords\n"),
        "a.parquet": parquet_of({"text": ["words"]}),
    }.items():
        make(folder / name)
        read_text(str(folder / name), "calibration")
    use(gguf.tiny_gguf(folder / "model.gguf"), folder / "other")


@pytest.fixture
def in_bounds(capfd: pytest.CaptureFixture[str]) -> Any:
    """Memory, during a test and after it, and that nothing is printed: what goes wrong is said in the refusal."""
    memory.forget_peak()
    before = memory.resident()
    yield
    assert memory.resident("VmHWM") < before + MOST
    memory.forget_peak()
    give_back()  # as after every job
    assert memory.resident() < 1.1 * before + 30e6
    assert capfd.readouterr() == ("", "")
