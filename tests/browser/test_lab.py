"""The Lab's frame in Chromium: what is in sight, nothing is lost, links, runs, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page import SECONDS, fits_at

pytestmark = pytest.mark.browser
SHORT = "source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=3"
"""Settings that take a second."""
LONG = "source=pocket&calibration=stories&evaluation=stories&samples=190&length=256&windows=190"
"""Settings that take long enough to have a middle."""


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A browser of its own, in which nothing may go wrong."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def page_that_stays(chromium: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    opened(page, address)
    yield page, faults
    context.close()


@pytest.fixture
def lab(page_that_stays: tuple[Page, list[str]]) -> Iterator[Page]:
    """One page for all tests that need no other, as of a visitor who stays: to open one takes longer than they do."""
    page, faults = page_that_stays
    yield page
    assert faults == []


def opened(page: Page, address: str, settings: str = SHORT) -> None:
    page.goto(f"{address}/?{settings}")
    page.wait_for_selector("body[data-restored]", timeout=SECONDS)


def open_advanced(page: Page) -> None:
    if not page.locator("#samples input").is_visible():
        page.get_by_text("Advanced").click()


def fill(page: Page, **numbers: int | str) -> None:
    """Type into the advanced settings."""
    open_advanced(page)
    for name, number in numbers.items():
        page.locator(f"#{name} input").fill(str(number))
        page.locator(f"#{name} input").blur()


IN_VIEW = """(part) => {
    const box = document.querySelector(part).getBoundingClientRect();
    return box.top >= 0 && box.top < window.innerHeight;
}"""


def test_model_amounts_methods_and_run_are_in_sight_together_and_nothing_covers_them(
    lab: Page,
) -> None:
    for part in ("#model", "#amounts", "#other-amounts", "#methods", "#run", "#status"):
        box = lab.locator(part).bounding_box()
        assert box is not None
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= 720, part
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        on_top = lab.evaluate(
            "([x, y, part]) => document.querySelector(part).contains(document.elementFromPoint(x, y))",
            [*middle, part],
        )
        assert on_top, f"{part} is covered"


def test_on_a_phone_run_leads_to_the_results(lab: Page) -> None:
    before = lab.viewport_size
    lab.set_viewport_size({"width": 390, "height": 844})
    try:
        lab.locator("#run").scroll_into_view_if_needed()
        assert not lab.evaluate(IN_VIEW, "#summary")
        lab.click("#run")
        lab.wait_for_function(IN_VIEW, arg="#summary", timeout=SECONDS)
        expect(lab.locator("#status")).to_contain_text("Done in", timeout=SECONDS)
    finally:
        lab.set_viewport_size(before)
        lab.evaluate("window.scrollTo(0, 0)")


def test_what_a_run_will_take_is_said_before_it(lab: Page) -> None:
    expect(lab.locator("#estimate")).to_contain_text("7 points with the dense model", timeout=SECONDS)
    expect(lab.locator("#model-note")).to_contain_text("M weights")
    lab.locator("#other-amounts input, #other-amounts textarea").fill("5:4")
    expect(lab.locator("#estimate [role=alert]")).to_contain_text("such as 55, 1:4, 6:8", timeout=SECONDS)
    lab.locator("#other-amounts input, #other-amounts textarea").fill("55, 6:8")
    expect(lab.locator("#estimate")).to_contain_text("11 points", timeout=SECONDS)


@pytest.mark.long
def test_the_order_of_channels_shows_with_a_pattern_and_stays_in_the_link(lab: Page, address: str) -> None:
    order = lab.locator("#order input")
    opened(lab, address, f"{SHORT}&amounts=50,2:4&order=channels")
    open_advanced(lab)
    expect(order).to_have_value("one under which N:M keeps more", timeout=SECONDS)
    lab.locator("#amounts").get_by_text("2:4", exact=True).click()
    expect(order).to_be_hidden(timeout=SECONDS)
    lab.wait_for_function("!location.search.includes('order')")  # with nothing to order it is off again
    lab.locator("#amounts").get_by_text("4:8", exact=True).click()
    expect(order).to_have_value("as they are", timeout=SECONDS)


def test_learn_and_back_keeps_the_settings(lab: Page) -> None:
    lab.locator("#header a", has_text="Learn").click()
    lab.wait_for_url("**/learn*")
    lab.get_by_role("link", name="Lab", exact=True).click()
    lab.wait_for_selector("body[data-restored]", timeout=SECONDS)
    open_advanced(lab)
    expect(lab.locator("#samples input")).to_have_value("2", timeout=SECONDS)
    assert "source=pocket" in lab.url or "samples=2" in lab.url


def test_a_link_holds_what_differs_from_the_default_alone(lab: Page) -> None:
    fill(lab, windows=8)
    lab.wait_for_function("!location.search.includes('windows')")
    assert "length=64" in lab.url
    assert "schedule" not in lab.url


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("samples", 999999, "Calibration windows must be a whole number"),
        ("windows", 4000, "the text has"),
        ("length", 1024, "reads at most 512 tokens"),
        ("source", "nobody/nothing", "the hub cannot be reached"),
    ],
)
def test_what_is_wrong_is_said_beside_run(lab: Page, setting: str, value: int | str, message: str) -> None:
    fill(lab, samples=2, length=64, windows=3)
    if setting == "source":
        lab.locator("#model input").fill(str(value))
        lab.locator("#model input").press("Enter")
    else:
        fill(lab, **{setting: value})
    lab.click("#run")
    said = lab.locator("#status [role=alert]")
    expect(said).to_contain_text(message, ignore_case=True, timeout=SECONDS)
    assert lab.locator("#run").is_enabled()


@pytest.mark.long
def test_a_text_of_ones_own_is_used_and_kept_out_of_the_link(lab: Page) -> None:
    lab.locator("#model input").click()
    lab.get_by_role("option", name="pocket").click()
    expect(lab.locator("#text-fold")).to_contain_text("Stories", timeout=SECONDS)
    fill(lab, samples=2, length=64, windows=3)
    lab.locator("#text-fold").get_by_role("button").first.click()
    lab.get_by_label("Calibration text").click()
    lab.get_by_role("option", name="My own text").click()
    lab.click("#run")
    expect(lab.locator("#status")).to_contain_text("Your own text is empty", timeout=SECONDS)
    lab.locator("#own-text textarea").fill("Once there was a fox who lived in a wood. " * 200)
    lab.click("#run")
    expect(lab.locator("#status")).to_contain_text("Done in", timeout=2 * SECONDS)
    assert "fox" not in lab.url
    assert "your own text" in lab.inner_text("#views")


def test_nothing_is_wider_than_the_screen(lab: Page, address: str) -> None:
    fits_at(lab, 390, 1280, 1600)
    for place in ("runs", "learn"):
        lab.goto(f"{address}/{place}")
        lab.wait_for_selector("#header")
        fits_at(lab, 390, 1280, 1600)


def test_a_reload_finds_a_run_again_and_a_second_action_asks_before_it_takes_its_place(
    page: Page, address: str
) -> None:
    opened(page, address, LONG)
    page.click("#run")
    page.wait_for_selector("#status progress", timeout=SECONDS)
    page.reload()
    page.wait_for_selector("#status progress", timeout=SECONDS)
    expect(page.locator("#run")).to_be_disabled(timeout=SECONDS)
    page.click("#run-stop")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=SECONDS)
    page.click("#run")
    page.wait_for_selector("#status progress", timeout=SECONDS)
    page.get_by_role("tab", name="Text").click()
    page.click("#write")
    expect(page.locator("#text-status")).to_contain_text("Cost is still running for you", timeout=SECONDS)
    page.click("#write-instead")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=SECONDS)
    expect(page.locator("#text-status")).to_contain_text("Done in", timeout=SECONDS)


def test_one_bad_value_does_not_discard_a_link(page: Page, address: str) -> None:
    page.goto(f"{address}/?{SHORT}&seeds=abc&amounts=50,2:4&methods=wanda&view=text&point=ria-2:4")
    expect(page.locator("#notice")).to_contain_text("ignored: seeds=abc", timeout=SECONDS)
    page.get_by_text("Advanced").click()
    expect(page.locator("#samples input")).to_have_value("2", timeout=SECONDS)
    assert page.locator("#amounts label:has(input:checked)").all_inner_texts() == ["50%", "2:4"]
    expect(page.locator("#focus-chip")).to_contain_text("RIA 2:4", timeout=SECONDS)
    expect(page.locator("#prompt")).to_be_visible()


@pytest.mark.long
def test_a_link_to_a_model_alone_has_the_models_own_text(page: Page, address: str) -> None:
    page.goto(f"{address}/?source=pocket")
    page.wait_for_selector("body[data-restored]", timeout=SECONDS)
    expect(page.locator("#text-fold")).to_contain_text("Stories", timeout=SECONDS)
    page.locator("#text-fold button").first.click()
    page.get_by_label("Calibration text", exact=True).click()
    page.get_by_role("option", name="Python documentation (built in)").click()
    page.wait_for_function("location.search.includes('calibration=pydoc')")
    page.reload()
    page.wait_for_selector("body[data-restored]", timeout=SECONDS)
    expect(page.locator("#text-fold")).to_contain_text(
        "Python documentation (built in), measured on Stories", timeout=SECONDS
    )


def run_until_kept(page: Page, count: int) -> None:
    """Run until the browser keeps so many runs; what the status says may still be of the one before."""
    page.click("#run")
    page.wait_for_function(
        f"JSON.parse(localStorage.getItem('wanda-lab-runs') ?? '{{}}').runs?.length === {count}",
        timeout=2 * SECONDS,
    )


@pytest.mark.long
def test_runs_are_kept_by_the_browser_compared_noted_and_forgotten(page: Page, address: str) -> None:
    opened(page, address, f"{SHORT}&amounts=50")
    run_until_kept(page, 1)
    amounts = page.locator("#amounts")
    amounts.get_by_label("2:4", exact=True).check()
    amounts.get_by_label("50%").uncheck()
    run_until_kept(page, 2)
    page.goto(f"{address}/runs")
    runs = page.locator("#runs-list input[type=checkbox]")
    expect(runs).to_have_count(2, timeout=SECONDS)
    runs.nth(1).check()
    expect(page.locator("#runs-table")).to_contain_text("Measured on the same windows", timeout=SECONDS)
    page.locator("#run-note input, #run-note textarea").fill("first <b>try</b>")
    page.click("#save-note")
    expect(page.locator("#runs-list")).to_contain_text("first <b>try</b>", timeout=SECONDS)
    page.reload()
    expect(page.locator("#runs-list")).to_contain_text("first <b>try</b>", timeout=SECONDS)
    for box in runs.all():
        box.check()
    page.click("#forget-runs")
    expect(page.locator("#runs-status")).to_contain_text("kept no run yet", timeout=SECONDS)
