"""The page as a visitor meets it in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


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
        self.page.wait_for_selector("#perplexity-chart .js-plotly-plot", state="attached")

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

    def table(self) -> list[list[str]]:
        """The results without the times, which differ from run to run."""
        rows = self.page.locator("table.results tbody tr").all()
        return [row.locator("th, td").all_inner_texts()[:4] for row in rows]

    def number(self, label: str, value: str) -> None:
        """Type into a field of the folded settings."""
        field = self.page.get_by_label(label, exact=True)
        if not field.is_visible():
            self.page.get_by_text("More settings").click()
        field.fill(value)
        field.blur()

    def choose(self, label: str, option: str) -> None:
        """Pick from a list."""
        self.page.get_by_label(label, exact=True).click()
        self.page.get_by_role("option", name=option).click()
