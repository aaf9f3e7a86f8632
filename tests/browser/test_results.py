"""What a stranger does on the page, in Chromium, without a network."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.support.page import Visit
from tests.support.server import served

pytestmark = pytest.mark.browser
LONG = {"Calibration windows": "190", "Evaluation windows": "190"}
"""Some twenty seconds of work, so that there is a middle."""


def start_long_run(visit: Visit) -> None:
    visit.page.get_by_label("SparseGPT").check()
    for label, value in LONG.items():
        visit.number(label, value)
    visit.run()
    visit.page.wait_for_selector("#status progress")


def test_the_first_screen_is_a_recorded_run_and_says_so(visit: Visit) -> None:
    assert "A recorded run of SmolLM2-135M-Instruct" in visit.page.inner_text("#summary")
    assert len(visit.table()) > 4
    assert visit.page.locator("#errors-chart .js-plotly-plot .scatterlayer .trace").count() >= 4


@pytest.mark.parametrize("width", [1280, 390])
def test_run_is_on_the_first_screen_and_says_what_goes_on_there(
    chromium: Browser, address: str, width: int
) -> None:
    visit = Visit(chromium, address, width)
    for part in ("#run", "#stop", "#status"):
        box = visit.page.locator(part).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900
    visit.page.close()
    assert visit.faults == []


def test_every_letter_is_of_the_pages_own_font(visit: Visit) -> None:
    visit.page.wait_for_function("document.fonts.status == 'loaded'")
    session = visit.page.context.new_cdp_session(visit.page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    for part in (".verdict", ".verdict b", "table.results th", "#introduction h1"):
        node = session.send("DOM.querySelector", {"nodeId": root, "selector": part})["nodeId"]
        fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        assert {font["familyName"] for font in fonts} == {"Source Sans 3"}, part


def test_default_run(visit: Visit) -> None:
    visit.run()
    visit.wait_for("Done in")
    assert [row[0] for row in visit.table()] == ["Dense", "Magnitude 70%", "Wanda 70%"]
    assert "Measured here, now, on pocket" in visit.page.inner_text("#summary")
    dense, *pruned = (float(row[2].split()[0]) for row in visit.table())
    assert all(perplexity > 1.2 * dense for perplexity in pruned)
    bars = visit.page.locator("#perplexity-chart .js-plotly-plot .bars .point").count()
    assert bars == 3
    assert "windows of 256 tokens of the built-in stories" in visit.page.inner_text("#protocol")


def test_stop_in_the_middle_and_the_next_run_is_as_from_a_fresh_start(
    visit: Visit, chromium: Browser, address: str
) -> None:
    start_long_run(visit)
    visit.page.click("#stop")
    visit.wait_for("Stopped", seconds=2)
    visit.open(address)
    visit.page.get_by_label("2:4", exact=True).check()
    visit.run()
    visit.wait_for("Done in")
    with served() as fresh:
        other = Visit(chromium, fresh)
        other.page.get_by_label("2:4", exact=True).check()
        other.run()
        other.wait_for("Done in")
        assert other.table() == visit.table()
        other.page.close()


def test_reload_in_the_middle_of_a_run(visit: Visit, address: str) -> None:
    start_long_run(visit)
    visit.page.reload()
    visit.page.wait_for_selector("#notice :text('those of the link')")
    assert visit.page.get_by_label("SparseGPT").first.is_checked()  # nothing that was chosen is lost
    visit.open(address)
    visit.run()
    visit.wait_for("Done in", seconds=60)
    assert [row[0] for row in visit.table()] == ["Dense", "Magnitude 70%", "Wanda 70%"]


def test_two_visitors_get_each_their_own(visit: Visit, chromium: Browser, address: str) -> None:
    other = Visit(chromium, address)
    visit.page.get_by_label("RIA").check()
    other.page.get_by_label("4:8", exact=True).check()
    visit.run()
    other.run()
    visit.wait_for("Done in")
    other.wait_for("Done in")
    assert [row[0] for row in visit.table()] == ["Dense", "Magnitude 70%", "Wanda 70%", "RIA 70%"]
    assert [row[0] for row in other.table()] == ["Dense", "Magnitude 4:8", "Wanda 4:8"]
    other.page.close()


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("Calibration windows", "0", "Calibration windows must be a whole number between 1 and"),
        ("Evaluation windows", "999999999", "Evaluation windows must be a whole number between 1 and"),
        ("Evaluation windows", "4000", "the text has"),
        ("Tokens per window", "1024", "reads at most 512 tokens"),
        ("Seed", "-1", "Seed must be a whole number"),
    ],
)
def test_a_wrong_number_is_explained(visit: Visit, label: str, value: str, message: str) -> None:
    visit.number(label, value)
    visit.run()
    visit.page.wait_for_selector("#status [role=alert]")
    assert message.lower() in visit.page.inner_text("#status").lower()
    assert visit.page.locator("#run").is_enabled()


def test_a_model_that_is_not_there_is_explained(visit: Visit) -> None:
    field = visit.page.get_by_label("1 · Model")
    field.fill("nobody/nothing")
    field.press("Enter")
    visit.run()
    visit.page.wait_for_selector("#status [role=alert]", timeout=60_000)
    assert "the hub cannot be reached" in visit.page.inner_text("#status").lower()


def test_a_path_is_not_a_model(visit: Visit) -> None:
    field = visit.page.get_by_label("1 · Model")
    field.fill("assets/pocket")
    field.press("Enter")
    visit.run()
    visit.page.wait_for_selector("#status [role=alert]")
    assert "choose a model from the list" in visit.page.inner_text("#status").lower()


def test_an_empty_and_a_short_text_are_explained(visit: Visit) -> None:
    visit.choose("2 · Calibration text", "My own text")
    visit.run()
    visit.page.wait_for_selector("#status [role=alert]")
    assert "your own text is empty" in visit.page.inner_text("#status").lower()
    visit.page.locator("#own-text textarea").fill("Once upon a time there was a fox.")
    visit.run()
    visit.page.wait_for_selector("#status :text('tokens')")
    assert "give a longer text" in visit.page.inner_text("#status").lower()


def test_no_method_is_explained(visit: Visit) -> None:
    for method in ("Magnitude", "Wanda"):
        visit.page.get_by_label(method, exact=True).uncheck()
    visit.run()
    visit.page.wait_for_selector("#status [role=alert]")
    assert "choose at least one method" in visit.page.inner_text("#status").lower()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(chromium: Browser, address: str, width: int) -> None:
    narrow = Visit(chromium, address, width)
    assert narrow.page.evaluate("document.documentElement.scrollWidth") <= width
    narrow.page.close()


def test_the_keyboard_reaches_run(visit: Visit) -> None:
    for _ in range(60):
        visit.page.keyboard.press("Tab")
        if visit.page.evaluate("document.activeElement.id") == "run":
            break
    visit.page.keyboard.press("Enter")
    visit.wait_for("Done in")
