"""The Speed view in Chromium: measure, read the table, stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
LINK = "?source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=2&view=speed"


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """The view, on which nothing may go wrong."""
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{address}/{LINK}")
    yield page
    page.close()
    assert faults == []


def test_what_is_shown_first_is_of_the_model_that_is_selected(page: Page, address: str) -> None:
    expect(page.locator("#speed-summary")).to_contain_text("Not measured for this model yet", timeout=30_000)
    page.goto(f"{address}/?source=HuggingFaceTB/SmolLM2-135M-Instruct&view=speed")
    summary = page.locator("#speed-summary")
    expect(summary).to_contain_text("A recorded measurement of SmolLM2-135M-Instruct", timeout=30_000)
    page.wait_for_selector("#speed-model .js-plotly-plot .bars .point")
    assert page.locator("#speed-model .js-plotly-plot .bars .point").count() == 8
    assert page.locator("#speed-shapes .js-plotly-plot .bars .point").count() > 12
    assert "no CUDA device" in page.inner_text("#speed-protocol")


def test_measure(page: Page) -> None:
    page.click("#speed-run")
    page.wait_for_selector("#speed-status :text('Done in')", timeout=180_000)
    assert "Measured here, now, on pocket" in page.inner_text("#speed-summary")
    rows = {
        row.locator("th").evaluate("th => th.firstChild.textContent"): row.locator("td").nth(1).inner_text()
        for row in page.locator("#size-table tbody tr").all()
    }
    assert rows["Dense file"] == rows["The same with zeros"] == "100%"
    assert float(rows["Packed file (2:4)"].rstrip("%")) < 65  # embeddings are dense
    if not torch.cuda.is_available():
        text = page.inner_text("#speed-protocol") + page.inner_text("#speed-shapes")
        assert "CUDA: no CUDA device on this machine" in text
        assert "CUTLASS" not in text


def test_stop(page: Page) -> None:
    page.click("#speed-run")
    page.wait_for_selector("#speed-status progress")
    page.click("#speed-run-stop")
    page.wait_for_selector("#speed-status :text('Stopped')", timeout=10_000)


def test_nothing_is_wider_than_a_phone(chromium: Browser, address: str) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{address}/?source=HuggingFaceTB/SmolLM2-135M-Instruct&view=speed")
    page.wait_for_selector("#speed-model .js-plotly-plot")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
