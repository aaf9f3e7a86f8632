"""The Lab's frame in Chromium: what is in sight, nothing is lost, links, runs, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
SHORT = "source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=3"
"""Settings that take a second."""
LONG = "source=pocket&calibration=stories&evaluation=stories&samples=190&length=256&windows=190"
"""Settings that take long enough to have a middle."""


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """A browser of its own, in which nothing may go wrong."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


def opened(page: Page, address: str, settings: str = SHORT) -> None:
    page.goto(f"{address}/?{settings}")
    page.wait_for_selector("body[data-restored]", timeout=60_000)


def run(page: Page) -> None:
    page.click("#run")
    expect(page.locator("#status")).to_contain_text("Done in", timeout=120_000)


def test_model_amounts_methods_and_run_are_in_sight_together_and_nothing_covers_them(
    page: Page, address: str
) -> None:
    opened(page, address)
    for part in ("#model", "#amounts", "#other-amounts", "#methods", "#run", "#status"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= 720, part
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        on_top = page.evaluate(
            "([x, y, part]) => document.querySelector(part).contains(document.elementFromPoint(x, y))",
            [*middle, part],
        )
        assert on_top, f"{part} is covered"


def test_what_a_run_will_take_is_said_before_it(page: Page, address: str) -> None:
    opened(page, address)
    expect(page.locator("#estimate")).to_contain_text("7 points with the dense model", timeout=30_000)
    expect(page.locator("#model-note")).to_contain_text("M weights")
    page.locator("#other-amounts input, #other-amounts textarea").fill("5:4")
    expect(page.locator("#estimate [role=alert]")).to_contain_text("such as 55, 1:4, 6:8", timeout=30_000)
    page.locator("#other-amounts input, #other-amounts textarea").fill("55, 6:8")
    expect(page.locator("#estimate")).to_contain_text("11 points", timeout=30_000)


def test_a_reload_in_the_middle_finds_the_run_again_and_shows_its_end(page: Page, address: str) -> None:
    opened(page, address, LONG)
    page.click("#run")
    page.wait_for_selector("#status progress")
    page.reload()
    page.wait_for_selector("#status progress", timeout=60_000)
    assert page.locator("#run").is_disabled()
    page.click("#run-stop")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=60_000)


def test_a_finished_run_is_there_after_a_reload(page: Page, address: str) -> None:
    opened(page, address)
    run(page)
    verdict = page.inner_text("#summary .verdict")
    page.reload()
    expect(page.locator("#summary .verdict")).to_have_text(verdict, timeout=60_000)
    expect(page.locator("#status")).to_contain_text("Done in")


def test_a_second_action_asks_before_it_takes_the_firsts_place(page: Page, address: str) -> None:
    opened(page, address, LONG)
    page.click("#run")
    page.wait_for_selector("#status progress")
    page.get_by_role("tab", name="Text").click()
    page.click("#write")
    expect(page.locator("#text-status")).to_contain_text("Cost is still running for you", timeout=60_000)
    page.click("#write-instead")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=60_000)


def test_learn_and_back_keeps_the_settings(page: Page, address: str) -> None:
    opened(page, address)
    page.locator("#header a", has_text="Learn").click()
    page.wait_for_url("**/learn*")
    page.get_by_role("link", name="Lab", exact=True).click()
    page.wait_for_selector("body[data-restored]", timeout=60_000)
    page.get_by_text("Advanced").click()
    expect(page.locator("#samples input")).to_have_value("2", timeout=30_000)
    assert "source=pocket" in page.url or "samples=2" in page.url


def test_one_bad_value_does_not_discard_a_link(page: Page, address: str) -> None:
    page.goto(f"{address}/?{SHORT}&seeds=abc&amounts=50,2:4&methods=wanda&view=text&point=ria-2:4")
    expect(page.locator("#notice")).to_contain_text("ignored: seeds=abc", timeout=30_000)
    page.get_by_text("Advanced").click()
    expect(page.locator("#samples input")).to_have_value("2")
    assert page.locator("#amounts label:has(input:checked)").all_inner_texts() == ["50%", "2:4"]
    expect(page.locator("#focus-chip")).to_contain_text("RIA 2:4", timeout=30_000)
    expect(page.locator("#prompt")).to_be_visible()


def test_a_link_holds_what_differs_from_the_default_alone(page: Page, address: str) -> None:
    opened(page, address)
    page.get_by_text("Advanced").click()
    page.locator("#windows input").fill("8")
    page.locator("#windows input").blur()
    page.wait_for_function("!location.search.includes('windows')")
    assert "length=64" in page.url
    assert "schedule" not in page.url


def test_a_link_to_a_model_alone_has_the_models_own_text(page: Page, address: str) -> None:
    page.goto(f"{address}/?source=pocket")
    page.wait_for_selector("body[data-restored]")
    expect(page.locator("#text-fold")).to_contain_text("Stories")
    page.locator("#text-fold button").first.click()
    page.get_by_label("Calibration text", exact=True).click()
    page.get_by_role("option", name="Python documentation (built in)").click()
    page.wait_for_function("location.search.includes('calibration=pydoc')")
    page.reload()
    page.wait_for_selector("body[data-restored]")
    expect(page.locator("#text-fold")).to_contain_text("Python documentation (built in), measured on Stories")


def test_runs_are_kept_by_the_browser_compared_noted_and_forgotten(page: Page, address: str) -> None:
    for count, amounts in enumerate(("50", "2:4"), 1):
        opened(page, address, f"{SHORT}&amounts={amounts}")
        page.click(
            "#run"
        )  # the earlier run, found again, says that it is done: the store tells the new one's end
        page.wait_for_function(
            f"JSON.parse(localStorage.getItem('wanda-lab-runs') ?? '{{}}').runs?.length === {count}",
            timeout=120_000,
        )
    page.goto(f"{address}/runs")
    runs = page.locator("#runs-list input[type=checkbox]")
    expect(runs).to_have_count(2, timeout=30_000)
    runs.nth(1).check()
    expect(page.locator("#runs-table")).to_contain_text("Measured on the same windows", timeout=30_000)
    page.locator("#run-note input, #run-note textarea").fill("first <b>try</b>")
    page.click("#save-note")
    expect(page.locator("#runs-list")).to_contain_text("first <b>try</b>", timeout=30_000)
    page.reload()
    expect(page.locator("#runs-list")).to_contain_text("first <b>try</b>", timeout=30_000)
    for box in runs.all():
        box.check()
    page.click("#forget-runs")
    expect(page.locator("#runs-status")).to_contain_text("kept no run yet", timeout=30_000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SHORT.replace("samples=2", "samples=999999"), "Calibration windows must be a whole number"),
        (SHORT.replace("windows=3", "windows=4000"), "the text has"),
        (SHORT.replace("length=64", "length=1024"), "reads at most 512 tokens"),
        (SHORT.replace("source=pocket", "source=nobody/nothing"), "the hub cannot be reached"),
    ],
)
def test_what_is_wrong_is_said_beside_run(page: Page, address: str, settings: str, message: str) -> None:
    opened(page, address, settings)
    page.click("#run")
    page.wait_for_selector("#status [role=alert]", timeout=60_000)
    assert message.lower() in page.inner_text("#status").lower()
    assert page.locator("#run").is_enabled()


def test_a_text_of_ones_own_is_used_and_kept_out_of_the_link(page: Page, address: str) -> None:
    opened(page, address)
    page.locator("#text-fold").get_by_role("button").first.click()
    page.get_by_label("Calibration text").click()
    page.get_by_role("option", name="My own text").click()
    page.click("#run")
    expect(page.locator("#status")).to_contain_text("Your own text is empty", timeout=60_000)
    page.locator("#own-text textarea").fill("Once there was a fox who lived in a wood. " * 200)
    run(page)
    assert "fox" not in page.url
    assert "your own text" in page.inner_text("#views")


@pytest.mark.parametrize("width", [1600, 1280, 390])
def test_nothing_is_wider_than_the_screen(chromium: Browser, address: str, width: int) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 844})
    for place in (f"?{SHORT}", "runs", "learn"):
        page.goto(f"{address}/{place}")
        page.wait_for_selector("#header")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
    page.close()
