"""Chromium; nothing else imports it."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.lesson import Lesson
from tests.support.page import browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for the whole session: while it is there, an event loop runs in the tests' thread."""
    with browser() as chromium:
        yield chromium


@pytest.fixture
def lesson(chromium: Browser, address: str) -> Iterator[Lesson]:
    """The lesson's first step, in which nothing may go wrong."""
    lesson = Lesson(chromium, address)
    yield lesson
    assert lesson.faults == []
    lesson.context.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    folder: Path = tmp_path_factory.mktemp("axe")
    fetched = subprocess.run(
        ["npm", "pack", "axe-core", "--silent"], cwd=folder, capture_output=True, timeout=120
    )
    packed = list(folder.glob("*.tgz"))
    if fetched.returncode or not packed:
        pytest.skip("npm has no axe-core for this machine")
    with tarfile.open(fileobj=io.BytesIO(packed[0].read_bytes())) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()
