"""axe-core over every view of the Lab, as it opens and after a run."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page import Visit

pytestmark = [pytest.mark.browser, pytest.mark.long]
VIEWS = ("cost", "inside", "text", "questions", "speed", "take-away")
SHORT = "source=pocket&samples=2&length=64&windows=3"
SECONDS = 60_000
RULES = {"runOnly": ["wcag2a", "wcag2aa", "best-practice"]}


def faults(page: Page, axe: str) -> list[object]:
    page.wait_for_timeout(2500)  # what is recorded arrives, colours fade in
    page.wait_for_function(
        "() => ![...document.querySelectorAll('[aria-label=\"Empty value\"]')].some(each => each.offsetParent)",
        timeout=SECONDS,
    )  # no chart is still to come
    page.evaluate(axe)
    return page.evaluate(
        "async (rules) => (await axe.run(document, rules)).violations.map(v => [v.id, v.nodes.map(n => n.html)])",
        RULES,
    )


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(chromium: Browser, address: str, axe: str, scheme: str, width: int) -> None:
    visit = Visit(chromium, address)
    page = visit.page
    page.set_viewport_size({"width": width, "height": 800})
    for place in (*(f"?view={view}&__theme={scheme}" for view in VIEWS), f"runs?__theme={scheme}"):
        page.goto(f"{address}/{place}")
        page.wait_for_selector("h1")
        found = faults(page, axe)
        assert found == [], (place, json.dumps(found, indent=1))
    page.goto(f"{address}/?{SHORT}&__theme={scheme}")
    page.wait_for_selector("body[data-restored]", timeout=SECONDS)
    visit.run()
    visit.wait_for("Done in", seconds=300)
    page.get_by_text("Advanced").click()
    page.locator("#bytes-fold button").first.click()
    page.wait_for_selector("#bytes-chart svg.main-svg[role=img][aria-label]", timeout=SECONDS)
    page.locator("#already button").first.click()
    page.click("#check-model")
    expect(page.locator("#already-report")).to_contain_text("is not pruned", timeout=SECONDS)
    found = faults(page, axe)
    assert found == [], json.dumps(found, indent=1)
    charts = page.locator(".js-plotly-plot").count()
    assert charts
    expect(page.locator(".js-plotly-plot svg.main-svg[role=img][aria-label]")).to_have_count(charts)
    page.locator("#samples input").fill("0")
    page.click("#run")
    page.wait_for_timeout(1000)
    found = faults(page, axe)
    assert found == [], json.dumps(found, indent=1)
    page.close()
