"""The Text view as a visitor meets it: texts that appear together, Stop, and clients that mean no good."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.page import Visit

pytestmark = pytest.mark.browser


PROMPT = "Long ago, in a dark forest,"


LINK = "?source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=2&view=text"


class TextVisit(Visit):
    """A visitor who goes to the Text view."""

    def open(self, address: str) -> None:
        self.page.goto(address if "?" in address else f"{address}/{LINK}")
        expect(self.page.locator("#texts")).to_contain_text("press Write", timeout=30_000)

    def write(self, prompt: str = PROMPT, tokens: int = 40) -> None:
        self.page.get_by_label("Prompt").fill(prompt)
        field = self.page.get_by_label("New tokens")
        if not field.is_visible():
            self.page.get_by_text("Sampling").click()
        field.fill(str(tokens))
        field.blur()
        self.page.click("#write")

    def wait_for(self, text: str, seconds: float = 60, where: str = "#text-status") -> None:
        self.page.wait_for_selector(f"{where} :text('{text}')", timeout=1000 * seconds)

    def headings(self) -> list[str]:
        return self.page.locator("#texts .writing h2").all_inner_texts()

    def texts(self) -> list[str]:
        return self.page.locator("#texts .writing .text").all_inner_texts()


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[TextVisit]:
    visit = TextVisit(chromium, address)
    yield visit
    visit.page.close()
    assert visit.faults == []


def test_recorded_texts_are_of_their_own_model_and_say_so(visit: TextVisit) -> None:
    visit.page.locator("#text-gallery").get_by_text("2:4").click()
    visit.page.wait_for_selector("#texts .writing h2:text('Wanda 2:4')")
    assert visit.headings() == ["Dense", "Magnitude 2:4", "Wanda 2:4", "SparseGPT 2:4"]
    assert "Recorded texts of SmolLM2-135M-Instruct" in visit.page.inner_text("#texts")


def test_two_methods_beside_the_dense_text(visit: TextVisit) -> None:
    visit.write()
    visit.wait_for("Done in")
    assert visit.headings() == ["Dense", "Wanda 50%", "Magnitude 50%"]
    assert "Written here, now, by pocket" in visit.page.inner_text("#texts")
    dense, *pruned = visit.page.locator("#texts .writing").all()
    assert dense.locator(".fork").count() == 0
    for column in pruned:
        # The part before the mark is the dense text's, and the one after it begins otherwise.
        shared = column.locator(".text").evaluate("element => element.firstChild.textContent")
        whole = dense.locator(".text").inner_text()
        if column.locator(".fork").count() and shared != "≠":
            assert whole.startswith(shared)
            departed = column.locator(".departed").inner_text()
            assert not whole[len(shared) :].startswith(departed[:5])
        figures = column.locator("dl").inner_text()
        assert re.search(r"departs\s+at token \d+", figures)
        assert re.search(r"Repetition\s+\d+%", figures)
        assert re.search(r"Surprise\s+[\d.,e+]+", figures)
        assert re.search(r"Speed\s+[\d.]+ tokens/s", figures)
    assert "40 new tokens, always the likeliest token (greedy)" in visit.page.inner_text("#texts .protocol")


def test_texts_grow_together_and_stop_ends_them(visit: TextVisit) -> None:
    visit.write(tokens=480)
    visit.page.wait_for_selector("#texts .writing:nth-child(3) .cursor", timeout=60_000)
    before = visit.texts()
    assert len(before) == 3
    visit.page.wait_for_function(
        "lengths => [...document.querySelectorAll('#texts .writing .text')]"
        ".every((text, i) => text.innerText.length > lengths[i])",
        arg=[len(text) for text in before],
        timeout=20_000,
    )
    visit.page.click("#write-stop")
    visit.wait_for("Stopped")
    stopped = visit.texts()
    time.sleep(1)
    assert visit.texts() == stopped, "the texts went on after Stop"
    assert visit.page.locator("#write").is_enabled()
    # The machine is free again.
    visit.write(tokens=1)
    visit.wait_for("Done in")


def test_the_same_seed_writes_the_same_and_another_does_not(visit: TextVisit) -> None:
    visit.page.get_by_text("Sampling").click()
    visit.page.get_by_label("Temperature").fill("1")
    written = []
    for seed in (1, 1, 2):
        visit.page.get_by_label("Seed of the text").fill(str(seed))
        visit.write(tokens=20)
        visit.page.wait_for_selector("#text-status progress")
        visit.wait_for("Done in")
        written.append(visit.texts())
    assert written[0] == written[1]
    assert written[0] != written[2]


def test_packed_weights_write_the_same_and_say_how(chromium: Browser, address: str) -> None:
    visit = TextVisit(chromium, f"{address}/{LINK}&point=wanda-2:4")
    visit.page.wait_for_selector("#focus-chip :text('Wanda 2:4')")
    visit.write(tokens=20)
    visit.wait_for("Done in")
    dense = visit.texts()
    assert "Packed" not in visit.page.locator("#texts .writing").nth(1).inner_text()
    visit.page.get_by_label("Packed weights").check()
    visit.write(tokens=20)
    visit.page.wait_for_selector("#texts .writing :text('2:4 numba')")
    visit.wait_for("Done in")
    assert visit.texts() == dense
    columns = visit.page.locator("#texts .writing").all()
    assert ["2:4 numba" in column.inner_text() for column in columns] == [False, True, True]
    visit.page.close()


def test_markup_in_a_prompt_is_text(visit: TextVisit) -> None:
    visit.write("<img src=x onerror=\"document.title='hit'\"><b>fox</b>", tokens=2)
    visit.wait_for("Done in")
    assert "<b>fox</b>" in visit.page.inner_text("#texts .prompt")
    assert visit.page.locator("#texts img").count() == 0
    assert visit.page.title() != "hit"


@pytest.mark.parametrize(
    ("prompt", "tokens", "message"),
    [
        (" ", 10, "the prompt is empty"),
        ("a fox", 0, "New tokens must be a whole number between 1 and 500"),
        ("a fox ran " * 150, 400, "are more than the 512 that pocket reads"),
    ],
)
def test_what_cannot_be_written_is_explained(
    visit: TextVisit, prompt: str, tokens: int, message: str
) -> None:
    visit.write(prompt, tokens)
    visit.page.wait_for_selector("#text-status [role=alert]")
    assert message.lower() in visit.page.inner_text("#text-status").lower()
    assert visit.page.locator("#write").is_enabled()


def test_three_methods_beside_it_are_too_many(visit: TextVisit) -> None:
    for method in ("RIA", "Random"):
        visit.page.locator("#beside").get_by_text(method, exact=True).click()
    visit.write()
    visit.wait_for("up to 2 methods")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(chromium: Browser, address: str, width: int) -> None:
    narrow = TextVisit(chromium, address, width)
    assert narrow.page.evaluate("document.documentElement.scrollWidth") <= width
    narrow.page.close()


def test_questions_without_a_network_say_so(chromium: Browser, address: str) -> None:
    pytest.importorskip("lm_eval")
    page = chromium.new_page()
    page.goto(f"{address}/{LINK.replace('view=text', 'view=questions')}")
    page.wait_for_selector("#ask")
    page.click("#ask")
    page.wait_for_selector("#scores table", timeout=120_000)
    page.wait_for_selector("#questions-status :text('Done in')", timeout=120_000)
    table = page.inner_text("#scores")
    assert table.count("the Hub cannot be reached") == 7
    assert "ARC challenge" in table
    page.close()
