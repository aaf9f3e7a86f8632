"""Chromium; nothing else imports it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.lesson import Lesson
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


@pytest.fixture
def lesson(chromium: Browser, address: str) -> Iterator[Lesson]:
    """The lesson's first step, in which nothing may go wrong."""
    lesson = Lesson(chromium, address)
    yield lesson
    assert lesson.faults == []
    lesson.context.close()
