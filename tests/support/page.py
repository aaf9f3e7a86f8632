"""The page as a visitor meets it in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

SECONDS = 60_000
"""Milliseconds in which what takes seconds is there on a busy machine, too."""


def chromium_path() -> str:
    """Where Chromium is; skips the test on a machine without."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium on this machine")
    return executable


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, unable to look up any name."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path(),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield chromium
        chromium.close()


class Visit:
    """One visitor's page, with everything that went wrong on it."""

    def __init__(self, chromium: Browser, address: str, width: int = 1280) -> None:
        self.page: Page = chromium.new_page(viewport={"width": width, "height": 900})
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        origin = address.split("/?")[0]
        self.page.on("request", lambda request: self._check(request.url, origin))
        self.open(address)

    def open(self, address: str) -> None:
        """As if it had been typed; without settings in it the page starts with the usual ones."""
        self.page.goto(address)
        self.page.wait_for_selector("body[data-restored]", timeout=SECONDS)

    def tab(self, name: str) -> None:
        """Open a tab; on a narrow screen what does not fit is behind a button."""
        self.page.get_by_role("tab", selected=True).first.wait_for()  # the page is there
        tab = self.page.get_by_role("tab", name=name)
        if tab.is_visible():
            tab.click()
        else:
            self.page.get_by_label("More tabs").click()
            self.page.locator(".overflow-dropdown button", has_text=name).click()

    def _check(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.faults.append(f"asked for {url}")

    def run(self) -> None:
        self.page.click("#run")

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Until the status says `text`."""
        self.page.wait_for_selector(f"#status :text('{text}')", timeout=1000 * seconds)

    def choose(self, label: str, option: str) -> None:
        """Pick from a list."""
        self.page.get_by_label(label, exact=True).click()
        self.page.get_by_role("option", name=option).click()


def fits_at(page: Page, *widths: int) -> None:
    """Nothing on the page is wider than a screen of these widths, one after the other."""
    size = page.viewport_size
    for width in widths:
        page.set_viewport_size({"width": width, "height": 844})
        # Charts follow a moment later.
        page.wait_for_function(
            f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}", timeout=SECONDS
        )
    page.set_viewport_size(size)
