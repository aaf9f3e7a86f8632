"""A visitor takes the lesson, in Chromium, without a network."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.support import oracle
from tests.support.lesson import Lesson

pytestmark = pytest.mark.browser
STEPS = range(1, 11)


def test_every_step_is_done_when_its_thing_is_done_and_asks_the_server_nothing(lesson: Lesson) -> None:
    page = lesson.page
    page.wait_for_timeout(1000)
    asked: list[str] = []
    own = ("/assets/", "/static/")  # gradio's own files come when they come
    page.on(
        "request",
        lambda request: None if any(part in request.url for part in own) else asked.append(request.url),
    )
    lesson.cell("hand", 0, 0).click()
    lesson.cell("hand", 0, 0).click()
    assert lesson.done() == []
    lesson.cell("hand", 0, 1).click()
    assert lesson.done() == [1]
    page.get_by_role("button", name="Next").click()
    lesson.cell("x", 0, 0).click()
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    assert lesson.done() == [1]
    page.keyboard.press("ArrowUp")
    assert lesson.numbers("x")[0, 0] == np.float32(0.8)  # 0.9 × √0.74 passes 0.8 × √0.93
    assert lesson.done() == [1, 2]
    page.get_by_role("button", name="Next").click()
    assert lesson.control("reveal").is_disabled()
    shades = "all => new Set(all.map(cell => getComputedStyle(cell).background)).size"
    assert page.eval_on_selector_all(".guess .line:not([hidden]) .cell", shades) == 1  # nothing gives it away
    for column in (0, 2, 4, 5):  # three are right
        lesson.cell("guess", 1, column).click()
    lesson.cell("guess", 1, 7).click()  # a fifth is not taken
    assert not page.locator(".block.wanda").is_visible()
    lesson.control("reveal").click()
    assert "3 of 4 right" in lesson.after
    assert page.url.endswith("/learn#step=3")
    assert "0.4 × 0.88 = 0.35 (in 6)" in lesson.after
    page.get_by_role("link", name="Step 4").click()
    lesson.control("group").select_option("layer")
    assert "2 of 8" in lesson.after
    assert page.locator(".axis.wanda .threshold:visible").count() == 1
    lesson.control("group").select_option("output")
    assert page.locator(".axis.wanda .threshold:visible").count() == 3
    lesson.go(5)
    lesson.control("pattern").select_option("2:4")
    lesson.cell("wanda", 0, 1).click()
    assert 5 not in lesson.done()
    lesson.cell("wanda", 0, 2).click()
    lesson.go(6)
    lesson.control("tokens").fill("1")
    assert 6 not in lesson.done()
    lesson.control("tokens").fill("20")
    lesson.go(7)
    lesson.control("far").fill("2")
    lesson.control("reveal").click()
    assert "You said 30%" in lesson.after
    lesson.control("far").fill("4")
    assert "60% pruned: perplexity" in page.inner_text(".reading")
    lesson.go(8)
    lesson.control("move").fill("100")
    assert asked == []
    for step in (9, 10):
        lesson.go(step)
        with page.expect_popup() as opened:
            page.locator(".lesson .real a.cell:visible, .lesson [data-control=lab] a:visible").first.click()
        if step == 9:
            assert "view=inside&layer=model.layers.10.self_attn.k_proj&weight=" in opened.value.url
        opened.value.close()
    assert lesson.done() == list(STEPS)
    page.goto(page.url.split("#")[0])
    page.wait_for_selector(".lesson .cell")
    assert lesson.done() == list(STEPS)
    assert page.inner_text(".lesson h1").startswith("10. ")  # where one left off


def test_what_is_shown_is_the_method_on_what_is_typed(lesson: Lesson) -> None:
    lesson.go(10)
    lesson.cell("x", 2, 6).fill("−7.5")
    lesson.cell("w", 0, 0).fill("0.01")
    w, x = lesson.numbers("w"), lesson.numbers("x")
    assert (w[0, 0], x[2, 6]) == (np.float32(0.01), -7.5)
    for group, pattern in (("output", "unstructured"), ("layer", "unstructured"), ("output", "2:4")):
        lesson.control("pattern").select_option("unstructured")
        lesson.control("group").select_option(group)
        lesson.control("pattern").select_option(pattern)
        shown = []
        for method in ("magnitude", "wanda"):
            scores = oracle.score(method, w, x)
            mask = oracle.mask(scores, 0.5, pattern, None if pattern == "2:4" else group)
            assert np.array_equal(lesson.mask(method), mask)
            moved = np.linalg.norm(x @ (w * ~mask).T) / np.linalg.norm(x @ w.T)
            shown.append(f"output error {100 * moved:.1f}%")
        assert lesson.errors() == shown


def test_a_cell_that_is_no_number_is_marked_and_the_picture_stays(lesson: Lesson) -> None:
    lesson.go(2)
    cell = lesson.cell("w", 0, 1)
    first = cell.input_value()
    before = lesson.page.inner_text(".block.wanda"), lesson.errors()
    for typed in ("x", "", "1e300", "nan", "1,000", "−", "Infinity"):
        cell.fill(typed)
        assert cell.get_attribute("aria-invalid") == "true", typed
        assert "out 0, in 1: type a number" in lesson.page.inner_text(".lesson .notice")
        assert (lesson.page.inner_text(".block.wanda"), lesson.errors()) == before, typed
        cell.fill("-0.3")
        assert cell.get_attribute("aria-invalid") == "false"
        assert lesson.page.inner_text(".block.wanda") != before[0], typed
        assert not lesson.page.locator(".lesson .notice.fault").is_visible()
        cell.fill(first)


def test_huge_tiny_and_negative_zero_are_numbers(lesson: Lesson) -> None:
    lesson.go(2)
    places = (("w", 0, 1), ("x", 0, 1), ("x", 1, 1), ("x", 2, 1))
    for typed in ("1e6", "-1e-30", "-0", "1e-300"):
        for place in places:
            lesson.cell(*place).fill(typed)
            assert lesson.cell(*place).get_attribute("aria-invalid") == "false", typed
        shown = lesson.page.inner_text(".stage")
        assert not {"NaN", "Infinity", "undefined"} & set(shown.replace("\n", " ").split()), typed
        score = float(np.float32(abs(np.float32(float(typed)))) * np.float32(np.sqrt(3 * float(typed) ** 2)))
        assert lesson.mask("wanda")[0, 1] == (score > 1), typed


def test_everything_goes_by_keyboard(lesson: Lesson) -> None:
    page = lesson.page
    lesson.go(2)
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.hash === '#step=3'")
    page.keyboard.press("PageUp")
    page.wait_for_function("location.hash === '#step=2'")
    lesson.cell("x", 0, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.column]") == [
        "1",
        "1",
    ]
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("ArrowDown")
    assert lesson.numbers("x")[1, 1] == np.float32(-2.1)
    lesson.cell("wanda", 0, 0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("out 1, in 1: ")
    threshold = page.locator(".axis.wanda .threshold").first
    threshold.focus()
    page.keyboard.press("ArrowRight")
    assert threshold.get_attribute("aria-valuenow") == "5"
    assert lesson.mask("wanda").sum() == 9
    page.keyboard.press("End")
    assert lesson.mask("wanda").sum() == 0
    assert page.url.endswith("#step=2")  # arrows in cells and on handles turn no pages
    tables = ["x", "w", "magnitude", "wanda"]
    for kind in tables:  # one tab stop each
        assert page.locator(f'.cell[data-kind="{kind}"][tabindex="0"]').count() == 1


def test_the_threshold_is_dragged_and_the_wheel_turns_a_focused_number(lesson: Lesson) -> None:
    page = lesson.page
    lesson.go(2)
    handle = page.locator(".axis.wanda .threshold").first.bounding_box()
    target = page.locator('.axis.wanda .dot[data-row="0"][data-column="2"]').bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + 12)
    page.mouse.down()
    page.mouse.move(target["x"] + target["width"], target["y"] + 5)
    page.mouse.up()
    assert not lesson.mask("wanda")[0, 2]
    assert lesson.mask("wanda").sum() == 3 * 3  # every row as many
    lesson.cell("x", 0, 0).click()
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.activeElement.value === '0.3'")


def test_what_belongs_together_is_marked_together(lesson: Lesson) -> None:
    lesson.go(2)
    lesson.page.locator('.axis.wanda .dot[data-row="1"][data-column="5"]').hover()
    for kind in ("w", "magnitude", "wanda"):
        assert "of-weight" in lesson.cell(kind, 1, 5).get_attribute("class")
        assert "of-weight" not in lesson.cell(kind, 1, 4).get_attribute("class")
    for token in range(3):
        assert "of-column" in lesson.cell("x", token, 5).get_attribute("class")
    assert "out 1, in 5: |−0.5| × 5.39 = 2.69: Wanda kept" in lesson.page.inner_text(".formula")


def test_examples_show_what_they_say(lesson: Lesson) -> None:
    lesson.go(10)
    example = lesson.control("example")
    example.select_option("tie")
    assert lesson.mask("magnitude")[0].tolist() == [False, False, True, True, True, False, True, False]
    example.select_option("zero")
    assert not lesson.mask("wanda")[:, 2].any()
    example.select_option("vanish")
    lesson.control("group").select_option("layer")
    assert lesson.mask("wanda").sum(axis=1).tolist() == [8, 4, 0]
    example.select_option("loud")
    lesson.control("group").select_option("output")
    assert lesson.mask("wanda")[:, 6].all()
    assert not lesson.mask("magnitude")[1, 6]
    lesson.cell("w", 0, 0).fill("5")
    example.select_option("start")
    example.select_option("loud")
    assert lesson.numbers("w")[0, 0] == 5  # what was typed is kept
    lesson.control("reset").click()
    assert lesson.numbers("w")[0, 0] == np.float32(0.9)


@pytest.mark.parametrize("step", ["99", "0", "x", "1.5", "", "3<b>"])
def test_a_link_to_a_step_that_does_not_exist_says_so(chromium: Browser, address: str, step: str) -> None:
    lesson = Lesson(chromium, address, step)
    assert lesson.page.inner_text(".lesson h1").startswith("1. ")
    assert "a step that does not exist" in lesson.page.inner_text(".lesson .notice")
    assert lesson.faults == []
    lesson.context.close()
