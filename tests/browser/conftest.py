"""Chromium; nothing else imports it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.page import Visit, browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for the whole session: while it is there, an event loop runs in the tests' thread."""
    with browser() as chromium:
        yield chromium


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Visit]:
    """A visitor's page, on which nothing may go wrong."""
    visit = Visit(chromium, address)
    yield visit
    visit.page.close()
    assert visit.faults == []
