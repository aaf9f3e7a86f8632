"""Cost in Chromium: one story on the first screen, points that can be picked, a budget that can be moved, and files."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from components.display.status_line import working
from tests.support.page import SECONDS, Visit
from tests.support.requests import result
from wanda_core.__main__ import main as command_line
from wanda_core.assets import ASSETS
from wanda_core.models.named_sources import smollm2_file

pytestmark = pytest.mark.browser
CHART = "#perplexity-chart .js-plotly-plot"
SHORT = "source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=3"
"""Settings that take a second."""


@pytest.fixture(scope="module")
def recorded(chromium: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(chromium, f"{address}/?source=pocket&calibration=stories&evaluation=stories")
    expect(visit.page.locator("#summary")).to_contain_text("pocket", timeout=SECONDS)
    visit.page.wait_for_selector(f"{CHART} .main-svg", timeout=SECONDS)
    yield visit
    visit.page.close()


@pytest.fixture
def pocket(recorded: Visit) -> Iterator[Visit]:
    """With the recorded results of pocket: one page for all tests that need no other, as of a visitor who stays."""
    yield recorded
    assert recorded.faults == []


@pytest.fixture(scope="module")
def after_run(chromium: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(chromium, f"{address}/?{SHORT}")
    visit.run()
    visit.wait_for("Done in", seconds=120)
    expect(visit.page.locator("#summary")).to_contain_text("Measured here", timeout=SECONDS)
    yield visit
    visit.page.close()


@pytest.fixture
def measured(after_run: Visit) -> Iterator[Visit]:
    """With results measured here: one page for all tests of these, in their order."""
    yield after_run
    assert after_run.faults == []


def saved(visit: Visit, button: str, folder: Path) -> Path:
    with visit.page.expect_download(timeout=SECONDS) as download:
        visit.page.click(button)
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_the_verdict_and_the_chart_are_on_a_laptops_first_screen_and_follow_the_model(
    chromium: Browser, address: str
) -> None:
    """The model that is selected is the model whose results are shown."""
    visit = Visit(chromium, address)
    visit.page.set_viewport_size({"width": 1280, "height": 720})
    visit.page.wait_for_selector(f"{CHART} .main-svg", timeout=SECONDS)
    label, model = visit.page.locator("#summary .label b"), visit.page.locator("#model input")
    if smollm2_file() is not None:
        expect(label).to_have_text("SmolLM2-135M-Instruct", timeout=SECONDS)
        assert "SmolLM2-135M-Instruct" in model.input_value()
        assert "Recorded" in visit.page.inner_text("#summary .label")
    box = visit.page.locator("#summary .verdict").first.bounding_box()
    assert box["y"] + box["height"] < 400
    assert visit.page.locator(CHART).bounding_box()["y"] < 420
    visit.choose("Model (or type owner/name of one of the Hub)", "pocket")
    expect(label).to_have_text("pocket", timeout=SECONDS)
    # Recorded with exactly these settings, once the texts have followed the model.
    expect(visit.page.locator("#settings-changed p")).to_have_count(0, timeout=SECONDS)
    model.fill("nobody/nothing")
    model.press("Enter")
    expect(visit.page.locator("#summary")).to_contain_text("not measured yet", timeout=SECONDS)
    expect(visit.page.locator(CHART)).to_be_hidden()
    visit.page.close()
    assert visit.faults == []


def test_a_row_and_a_point_of_the_chart_set_the_point_in_focus(pocket: Visit) -> None:
    page = pocket.page
    page.locator("#points tr", has_text="Magnitude 70%").locator("td").nth(1).click()
    expect(page.locator("#focus-chip b")).to_have_text("Magnitude 70%", timeout=SECONDS)
    expect(page.locator("#points tr.in-focus")).to_contain_text("Magnitude 70%", timeout=SECONDS)
    page.wait_for_function("location.search.includes('point=')")  # the address names it
    page.wait_for_timeout(500)
    page.locator(CHART).scroll_into_view_if_needed()
    place = page.evaluate(
        """() => {
            const plot = document.querySelector("#perplexity-chart .js-plotly-plot");
            const trace = plot.data.find((each) => each.name === "Wanda" && each.customdata);
            const axes = plot._fullLayout, box = plot.getBoundingClientRect();
            return [box.x + axes.xaxis._offset + axes.xaxis.d2p(trace.x[0]),
                box.y + axes.yaxis._offset + axes.yaxis.d2p(trace.y[0])];
        }"""
    )
    page.mouse.move(*place)
    expect(page.locator(f"{CHART} .hoverlayer")).to_contain_text("30%", timeout=SECONDS)
    page.mouse.click(*place)
    expect(page.locator("#focus-chip b")).to_have_text(re.compile("30%"), timeout=SECONDS)


def test_the_keyboard_picks_a_row(pocket: Visit) -> None:
    button = pocket.page.locator("#points button.pick", has_text="Wanda 70%")
    button.focus()
    pocket.page.keyboard.press("Enter")
    expect(pocket.page.locator("#focus-chip b")).to_have_text("Wanda 70%", timeout=SECONDS)
    expect(button).to_have_attribute("aria-pressed", "true", timeout=SECONDS)


def test_the_budget_moves_by_slider_and_by_its_line(pocket: Visit) -> None:
    page = pocket.page
    reach = page.locator("#reach")
    before = reach.inner_text()
    field = page.locator("#budget input[type=number]")
    field.fill("45")
    field.press("Tab")
    expect(reach).not_to_have_text(before, timeout=SECONDS)
    page.wait_for_function(
        "document.querySelector('#perplexity-chart .js-plotly-plot').layout.shapes[0].label.text.includes('45%')"
    )
    page.locator(CHART).scroll_into_view_if_needed()
    line = page.locator(f"{CHART} .shapelayer path").first.bounding_box()
    place = (line["x"] + line["width"] * 0.2, line["y"] + line["height"] / 2)
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(place[0], place[1] + 40, steps=8)
    page.mouse.up()
    expect(field).not_to_have_value("45", timeout=SECONDS)
    assert float(field.input_value()) < 45  # down is less


def test_a_limit_that_cannot_be_measured_says_so_beside_its_button(pocket: Visit) -> None:
    field = pocket.page.locator("#budget input[type=number]")
    field.fill("200")
    field.press("Tab")
    pocket.page.wait_for_timeout(500)
    pocket.page.click("#measure-limits")
    expect(pocket.page.locator("#limits-status [role=alert]")).to_contain_text(
        "within the budget", timeout=SECONDS
    )


def test_results_of_other_settings_are_marked(pocket: Visit) -> None:
    changed = pocket.page.locator("#settings-changed")
    pocket.page.locator("#amounts").get_by_label("90%").check()
    expect(changed).to_contain_text("Settings changed since this run (points)", timeout=SECONDS)
    pocket.page.locator("#amounts").get_by_label("90%").uncheck()
    expect(changed.locator("p")).to_have_count(0, timeout=SECONDS)


def test_the_headers_report_is_of_what_is_shown(pocket: Visit, tmp_path: Path) -> None:
    file = saved(pocket, "#report", tmp_path)
    assert file.suffix == ".html"
    text = file.read_text(encoding="utf-8")
    dense = json.loads((ASSETS / "recorded" / "cost-pocket.json").read_text(encoding="utf-8"))["rows"][0]
    assert f"{dense['perplexity']:.4g}" in text
    assert "wanda-lab compare pocket --methods wanda,magnitude --sparsities 0.3,0.5,0.7" in text
    assert "<svg" in text


def test_every_chart_has_a_name_and_no_tooltip_is_faint(pocket: Visit) -> None:
    page = pocket.page
    page.wait_for_selector("#layers-chart svg.main-svg[role=img]", timeout=SECONDS)
    # A chart that is drawn anew, as when the link's model comes, gets its name a moment later.
    every = """() => {
        const charts = [...document.querySelectorAll(".js-plotly-plot")];
        const names = charts.map((chart) => chart.querySelector("svg.main-svg")?.getAttribute("aria-label"));
        return names.every(Boolean) && names;
    }"""
    names = page.wait_for_function(every, timeout=SECONDS).json_value()
    assert "Magnitude 50%: 2." in names[0]
    page.locator("#layers-chart").scroll_into_view_if_needed()
    cell = page.locator("#layers-chart .js-plotly-plot").bounding_box()
    page.mouse.move(cell["x"] + cell["width"] / 2, cell["y"] + cell["height"] / 2)
    text = page.locator("#layers-chart .hoverlayer text").first
    expect(text).to_contain_text("output error", timeout=SECONDS)
    colours = page.evaluate(
        """() => {
            const fill = (part) => getComputedStyle(document.querySelector(`#layers-chart .hoverlayer ${part}`)).fill;
            return [fill("text"), fill("path")];
        }"""
    )
    assert contrast(*colours) >= 4.5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_progress_bar_can_be_seen(pocket: Visit, tmp_path: Path, dark: bool) -> None:
    """What is done against what is left, and against the page."""
    page = pocket.page
    put = """([html, dark]) => {
        document.body.classList.toggle("dark", dark);
        document.querySelector("#reach").insertAdjacentHTML("beforebegin", `<div id="sample">${html}</div>`);
    }"""
    page.evaluate(put, [working("Pruning", 0.5, ""), dark])
    bar = page.locator("#sample progress")
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    assert box
    clip = {"x": box["x"], "y": box["y"] - 4, "width": box["width"], "height": box["height"] + 4}
    page.screenshot(path=tmp_path / "bar.png", clip=clip)
    picture = Image.open(tmp_path / "bar.png").convert("RGB")
    middle = 4 + round(box["height"] / 2)
    done, left, ground = (
        "rgb({}, {}, {})".format(*picture.getpixel(at))
        for at in ((picture.width // 4, middle), (3 * picture.width // 4, middle), (picture.width // 4, 1))
    )
    page.evaluate(
        """() => { document.querySelector("#sample").remove(); document.body.classList.remove("dark"); }"""
    )
    assert contrast(done, left) >= 3
    assert contrast(done, ground) >= 3


def test_a_saved_picture_has_a_title_on_white(pocket: Visit, tmp_path: Path) -> None:
    pocket.page.wait_for_selector(f"{CHART}[data-saves]", timeout=SECONDS)
    file = saved(pocket, f"{CHART} [data-title='Save the picture']", tmp_path)
    assert file.name == "perplexity-pocket.png"
    picture = Image.open(file).convert("RGBA")
    assert picture.getpixel((3, picture.height // 2)) == (255, 255, 255, 255)
    title = picture.crop((0, 0, picture.width // 2, 60)).convert("L")
    assert title.getextrema()[0] < 80  # dark letters on it


def test_after_a_run_the_point_in_focus_is_marked_and_nothing_is_left_to_measure(measured: Visit) -> None:
    # A run keeps its name while its points come in: the mark must follow the table.
    expect(measured.page.locator("#points tr.in-focus")).to_contain_text("Wanda 50%", timeout=SECONDS)
    expect(measured.page.locator("#estimate")).to_contain_text("7 already measured", timeout=SECONDS)


@pytest.mark.long
def test_the_mark_follows_the_table_while_points_come_in(chromium: Browser, address: str) -> None:
    """A run of some seconds: its first messages come before the point in focus is measured."""
    longer = SHORT.replace("windows=3", "windows=64").replace("length=64", "length=128")
    visit = Visit(chromium, f"{address}/?{longer}")
    visit.run()
    visit.wait_for("Done in", seconds=300)
    expect(visit.page.locator("#points tr.in-focus")).to_contain_text("Wanda 50%", timeout=5000)
    visit.page.close()


def test_files_hold_what_is_shown(measured: Visit, tmp_path: Path) -> None:
    content = json.loads(saved(measured, "#json", tmp_path).read_text(encoding="utf-8"))
    assert [row["method"] for row in content["rows"]] == ["dense", *["wanda", "magnitude"] * 3]
    for row in content["rows"]:
        assert row["perplexity"] == pytest.approx(math.exp(sum(row["window_losses"]) / 3))
        assert row["perplexity_low"] <= row["perplexity"] <= row["perplexity_high"]
    assert len(saved(measured, "#csv", tmp_path).read_text(encoding="utf-8").splitlines()) == 8


def test_page_api_and_command_line_give_the_same_perplexities(
    measured: Visit, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = json.loads(saved(measured, "#json", tmp_path).read_text(encoding="utf-8"))
    asked = {"calibration": "stories", "evaluation": "stories", "samples": 2, "length": 64, "windows": 3}
    api = result(address, "measure", source="pocket", **asked)
    # As the report says that it can be repeated.
    report = saved(measured, "#report", tmp_path).read_text(encoding="utf-8")
    words = shlex.split(unescape(report.split("<pre>")[1].split("</pre>")[0]))
    assert words[:2] == ["wanda-lab", "compare"]
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "command_line.json"
    assert command_line([*words[1:], "--json", str(file)]) == 0
    assert (tmp_path / "report.html").exists()
    own = json.loads(file.read_text(encoding="utf-8"))

    def perplexities(found: dict) -> dict[tuple[str, float], float]:
        return {(row["method"], row["sparsity"]): row["perplexity"] for row in found["rows"]}

    assert len(perplexities(page)) == 7
    assert perplexities(api) == pytest.approx(perplexities(page), rel=5e-7)  # six digits
    assert perplexities(own) == pytest.approx(perplexities(page), rel=5e-7)


def test_a_reload_shows_what_was_measured(measured: Visit) -> None:
    page = measured.page
    shown, verdict = page.inner_text("#points"), page.inner_text("#summary .verdict")
    page.reload()
    expect(page.locator("#summary")).to_contain_text("Measured here", timeout=SECONDS)
    expect(page.locator("#summary .verdict")).to_have_text(verdict, timeout=SECONDS)
    expect(page.locator("#points table")).to_be_visible(timeout=SECONDS)
    assert page.inner_text("#points") == shown
    measured.wait_for("Done in")
    # The link's settings, too, before the next test changes them.
    page.wait_for_selector("body[data-restored]", timeout=SECONDS)


@pytest.mark.long
def test_calibration_sensitivity_of_the_point_in_focus(measured: Visit) -> None:
    page = measured.page
    page.locator("#sensitivity").get_by_text("How much does the calibration matter?").click()
    page.locator("#tried-samples input, #tried-samples textarea").fill("1, 2")
    page.locator("#tried-texts").get_by_label("Random tokens").check()
    page.locator("#tried-texts").get_by_label("WikiText-2").check()
    page.click("#measure-sensitivity")
    expect(page.locator("#sensitivity-status")).to_contain_text("Done in", timeout=2 * SECONDS)
    table = page.locator("#sensitivity-table")
    expect(table.locator("tbody tr")).to_have_count(8)
    expect(table).to_be_visible(timeout=SECONDS)
    assert table.inner_text().count("Random tokens") == 4
    assert "the Hub cannot be reached" in table.inner_text()  # that text alone fails
    assert "0.0%" in table.inner_text()  # the first calibration's masks are its own
    expect(page.locator("#sensitivity-chart .js-plotly-plot")).to_be_visible()


@pytest.mark.long
def test_the_limit_is_measured_and_answered_beside_its_button(measured: Visit, tmp_path: Path) -> None:
    before = {row["sparsity"] for row in json.loads(saved(measured, "#json", tmp_path).read_text())["rows"]}
    measured.page.click("#measure-limits")
    status = measured.page.locator("#limits-status")
    expect(status).to_contain_text("pressed Run", timeout=SECONDS)
    more = {int(end) / 100 for end in re.findall(r"(\d+)%", status.inner_text())}
    # All of them: "Done in" is of the run before until this one begins.
    points = measured.page.locator("#points")
    for sparsity in more:
        expect(points).to_contain_text(f"{100 * sparsity:.0f}%", timeout=2 * SECONDS)
    measured.wait_for("Done in", seconds=120)
    rows = json.loads(saved(measured, "#json", tmp_path).read_text())["rows"]
    assert {row["sparsity"] for row in rows} == before | more


def test_one_amount_is_points_with_intervals_not_bars_on_a_log_axis(measured: Visit) -> None:
    page = measured.page
    for chip in page.locator("#amounts label:has(input:checked)").all_inner_texts():
        if chip != "50%":
            page.locator("#amounts").get_by_label(chip).uncheck()
    other = page.locator("#other-amounts input, #other-amounts textarea")
    other.fill("")
    other.blur()
    expect(page.locator("#estimate")).to_contain_text("3 points with the dense model", timeout=SECONDS)
    measured.run()
    expect(page.locator("#points tbody tr")).to_have_count(3, timeout=2 * SECONDS)
    # The chart of one amount is drawn a moment after its table.
    kinds = page.wait_for_function(
        """() => {
            const {data} = document.querySelector("#perplexity-chart .js-plotly-plot");
            return data.some((trace) => trace.name === "Wanda 50%") && data.map((trace) => trace.type);
        }""",
        timeout=SECONDS,
    )
    assert set(kinds.json_value()) == {"scatter"}


def test_a_saved_file_opens_again(measured: Visit, tmp_path: Path) -> None:
    file = saved(measured, "#json", tmp_path)
    content = json.loads(file.read_text(encoding="utf-8"))
    content["protocol"]["source"] = "somebody/elses-model"
    file.write_text(json.dumps(content), encoding="utf-8")
    page = measured.page
    page.set_input_files("#open-saved input, input[type=file][accept='.json']", file)
    expect(page.locator("#summary")).to_contain_text("From a saved file: elses-model", timeout=SECONDS)
    page.locator("#points tr", has_text="Wanda 50%").click()
    # What is not kept here cannot be opened.
    expect(page.locator("#points button.pick")).to_have_count(0, timeout=SECONDS)


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two `rgb(...)` colours."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
