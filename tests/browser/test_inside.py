"""A visitor looks inside, in Chromium, without a network."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.support.page import Visit
from tests.support.server import served
from wanda_core import load

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of this file's own: after a run of the first settings the view opens that, not the recorded look."""
    with served() as address:
        yield address


def open_inside(page: Page) -> None:
    page.get_by_role("tab", name="Inside").click()
    page.wait_for_selector("#window-chart .js-plotly-plot .heatmaplayer")


def at(page: Page, chart: str, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a place in the axes of a chart lies."""
    page.locator(f"#{chart}").scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    place = page.evaluate(
        """([chart, x, y]) => {
            const plot = document.querySelector(`#${chart} .js-plotly-plot`);
            const {xaxis, yaxis} = plot._fullLayout;
            const box = plot.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(x), box.top + yaxis._offset + yaxis.d2p(y)];
        }""",
        [chart, x, y],
    )
    return place[0], place[1]


def pictures(page: Page) -> list[str]:
    """The data of the card's four pictures."""
    charts = ["histogram-chart", "plane-chart", "density-chart", "window-chart"]
    script = "c => JSON.stringify(document.querySelector(`#${c} .js-plotly-plot`).data)"
    return [page.evaluate(script, chart) for chart in charts]


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


def test_before_any_look_a_recorded_one_can_be_played_with(visit: Visit) -> None:
    open_inside(visit.page)
    assert "A recorded look into SmolLM2-135M-Instruct" in visit.page.inner_text("#look-title")
    before = pictures(visit.page)
    assert all(len(picture) > 1000 for picture in before)
    visit.page.get_by_label("number input for Preview sparsity (%)").fill("80")
    visit.page.wait_for_function("() => document.querySelector('#card-label').innerText.includes('remove 7')")
    assert all(one != other for one, other in zip(before, pictures(visit.page), strict=True))


def test_run_click_the_map_move_the_slider_hover_a_weight(visit: Visit) -> None:
    page = visit.page
    visit.run()
    visit.wait_for("Done in")
    open_inside(page)
    page.wait_for_selector("#look-status :text('Done in')", timeout=60_000)
    assert "the run's own masks" in page.inner_text("#look-title")
    label = page.inner_text("#card-label")
    assert label.count("the run's own mask") == 2
    assert "preview" not in label

    page.mouse.click(*at(page, "map-chart", 2, 0))  # block 2, the first kind
    page.wait_for_function("() => document.querySelector('#layer input').value.includes('block 2, ')")
    name = page.input_value("#layer input").split(" · ")[1]
    page.wait_for_function("() => !document.querySelector('#card-label').innerText.includes('preview')")
    before = pictures(page)

    page.get_by_label("number input for Preview sparsity (%)").fill("40")
    page.wait_for_function("() => document.querySelector('#card-label').innerText.includes('preview')")
    page.wait_for_timeout(500)
    assert all(one != other for one, other in zip(before, pictures(page), strict=True))

    row, column = 11, 23
    page.mouse.move(*at(page, "window-chart", column, row))
    page.wait_for_selector("#window-chart .hoverlayer .hovertext")
    hovered = page.text_content("#window-chart .hoverlayer .hovertext")
    weight = next(w for w in load("pocket").prunable.layers if w.name == name).weight.numpy()
    magnitude = np.abs(weight.astype(np.float64))
    gone = math.floor(weight.size * 0.4)
    threshold = np.sort(magnitude.ravel())[gone - 1]
    place, input_, value, norm, one, line, two, row_line = numbers(
        re.sub(r"output (\d+), input (\d+): .*?W ", r"\1 \2 ", hovered).replace("‖X‖", "")
    )
    assert (place, input_) == (row, column)
    assert value == pytest.approx(float(weight[row, column]), rel=1e-3)
    assert one == pytest.approx(magnitude[row, column], rel=1e-3)
    assert line == pytest.approx(threshold, rel=1e-3)
    assert two == pytest.approx(abs(value) * norm, rel=1e-3)
    fate = re.search(r"both remove|both keep|only \w+ keeps", hovered)[0]
    keeps = {
        "both keep": (1, 1),
        "both remove": (0, 0),
        "only Magnitude keeps": (1, 0),
        "only Wanda keeps": (0, 1),
    }
    assert keeps[fate] == (magnitude[row, column] > threshold, two > row_line)

    page.mouse.click(*at(page, "window-chart", column, row))
    page.wait_for_function(
        f"() => document.querySelector('#arithmetic').innerText.includes('output {row}, input {column}')"
    )
    written = page.inner_text("#arithmetic").splitlines()
    assert ("stays" in written[-2], "stays" in written[-1]) == keeps[fate]


def test_the_keyboard_reaches_layers_and_weights(visit: Visit) -> None:
    page = visit.page
    open_inside(page)
    if page.locator(
        "#look-status progress"
    ).is_visible():  # another visitor's run by these settings is opened
        page.wait_for_selector("#look-status :text('Done in')")
    field = page.get_by_label("Row of the weight")
    for _ in range(3):  # that look may also begin later, and draws the card anew
        field.focus()
        page.keyboard.press("Control+a")
        page.keyboard.type("7")
        page.wait_for_timeout(4000)
        if "output 7, " in page.inner_text("#arithmetic"):
            break
    assert "output 7, " in page.inner_text("#arithmetic")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_view_is_no_wider_than_the_screen(chromium: Browser, address: str, width: int) -> None:
    narrow = Visit(chromium, address, width)
    open_inside(narrow.page)
    assert narrow.page.evaluate("document.documentElement.scrollWidth") <= width
    assert narrow.page.locator("#window-chart .modebar-btn").count() == 1
    narrow.page.close()
