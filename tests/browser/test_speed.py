"""The Speed view in Chromium: measure, read the table, stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from tests.support.page import SECONDS, fits_at

pytestmark = pytest.mark.browser
LINK = "?source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=2&view=speed"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """One on which nothing may go wrong."""
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    page.close()
    assert faults == []


def test_what_is_recorded_is_shown_for_its_own_model_and_fits_a_phone(page: Page, address: str) -> None:
    page.goto(f"{address}/?source=HuggingFaceTB/SmolLM2-135M-Instruct&view=speed")
    summary = page.locator("#speed-summary")
    expect(summary).to_contain_text("A recorded measurement of SmolLM2-135M-Instruct", timeout=SECONDS)
    expect(page.locator("#speed-model .js-plotly-plot .bars .point")).to_have_count(8, timeout=SECONDS)
    page.wait_for_selector("#speed-shapes .js-plotly-plot .bars .point", timeout=SECONDS)
    assert page.locator("#speed-shapes .js-plotly-plot .bars .point").count() > 12
    assert "no CUDA device" in page.inner_text("#speed-protocol")
    fits_at(page, 390)


@pytest.mark.long
def test_stop_and_measure(page: Page, address: str) -> None:
    page.goto(f"{address}/{LINK}")
    expect(page.locator("#speed-summary")).to_contain_text("Not measured for this model yet", timeout=SECONDS)
    page.click("#speed-run")
    page.wait_for_selector("#speed-status progress", timeout=SECONDS)
    page.click("#speed-run-stop")
    page.wait_for_selector("#speed-status :text('Stopped')", timeout=SECONDS)
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
