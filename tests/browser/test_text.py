"""The Text view as a visitor meets it: texts that appear together, Stop, and clients that mean no good."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.page import SECONDS, Visit, fits_at

pytestmark = pytest.mark.browser


PROMPT = "Long ago, in a dark forest,"


LINK = "?source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=2&view=text"


class TextVisit(Visit):
    """A visitor who goes to the Text view."""

    def open(self, address: str) -> None:
        self.page.goto(address if "?" in address else f"{address}/{LINK}")
        expect(self.page.locator("#texts")).to_contain_text("press Write", timeout=SECONDS)
        if "source=pocket" in self.page.url:  # gets a story to continue, a moment after the view
            expect(self.page.get_by_label("Prompt")).to_have_value(re.compile("^Long ago"), timeout=SECONDS)

    def write(self, prompt: str = PROMPT, tokens: int = 40, temperature: float = 0, seed: int = 0) -> None:
        self.page.get_by_label("Prompt").fill(prompt)
        if not self.page.get_by_label("New tokens").is_visible():
            self.page.get_by_text("Sampling").click()
        for label, value in (
            ("New tokens", tokens),
            ("Temperature", temperature),
            ("Seed of the text", seed),
        ):
            field = self.page.get_by_label(label)
            field.fill(str(value))
            field.blur()
        self.page.click("#write")

    def written(self, how: str) -> list[str]:
        """The texts, once those that were written in this way are all there; "Done in" may be of earlier ones."""
        expect(self.page.locator("#texts .protocol")).to_contain_text(how, timeout=2 * SECONDS)
        expect(self.page.locator("#texts .cursor")).to_have_count(0, timeout=SECONDS)
        self.wait_for("Done in")
        return self.texts()

    def wait_for(self, text: str, seconds: float = 60, where: str = "#text-status") -> None:
        self.page.wait_for_selector(f"{where} :text('{text}')", timeout=1000 * seconds)

    def headings(self) -> list[str]:
        return self.page.locator("#texts .writing h2").all_inner_texts()

    def texts(self) -> list[str]:
        return self.page.locator("#texts .writing .text").all_inner_texts()


@pytest.fixture(scope="module")
def page_that_stays(chromium: Browser, address: str) -> Iterator[TextVisit]:
    visit = TextVisit(chromium, address)
    yield visit
    visit.page.close()


@pytest.fixture
def visit(page_that_stays: TextVisit) -> Iterator[TextVisit]:
    """One page for the whole file, as of a visitor who stays: to open one takes longer than most of the tests."""
    yield page_that_stays
    assert page_that_stays.faults == []


def test_recorded_texts_are_of_their_own_model_and_say_so(visit: TextVisit) -> None:
    visit.page.locator("#text-gallery").get_by_text("2:4").click()
    visit.page.wait_for_selector("#texts .writing h2:text('Wanda 2:4')")
    assert visit.headings() == ["Dense", "Magnitude 2:4", "Wanda 2:4", "SparseGPT 2:4"]
    assert "Recorded texts of SmolLM2-135M-Instruct" in visit.page.inner_text("#texts")


def test_two_methods_beside_the_dense_text(visit: TextVisit) -> None:
    visit.write()
    visit.written("At most 40 new tokens, always the likeliest token (greedy)")
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


@pytest.mark.long
def test_the_same_seed_writes_the_same_and_another_does_not(visit: TextVisit) -> None:
    written = []
    for seed in (1, 2, 1):
        visit.write(tokens=20, temperature=1, seed=seed)
        written.append(visit.written(f"seed {seed}. The prompt"))
    assert written[0] == written[2]
    assert written[0] != written[1]


@pytest.mark.long
def test_packed_weights_write_the_same_and_say_how(chromium: Browser, address: str) -> None:
    visit = TextVisit(chromium, f"{address}/{LINK}&point=wanda-2:4")
    visit.page.wait_for_selector("#focus-chip :text('Wanda 2:4')")
    visit.write(tokens=20)
    dense = visit.written("At most 20 new tokens")
    assert "Packed" not in visit.page.locator("#texts .writing").nth(1).inner_text()
    visit.page.get_by_label("Packed weights").check()
    visit.write(tokens=20)
    visit.page.wait_for_selector("#texts .writing :text('2:4 numba')", timeout=SECONDS)
    assert visit.written("At most 20 new tokens") == dense
    columns = visit.page.locator("#texts .writing").all()
    assert ["2:4 numba" in column.inner_text() for column in columns] == [False, True, True]
    visit.page.close()
    assert visit.faults == []


def test_markup_in_a_prompt_is_text(visit: TextVisit) -> None:
    visit.write("<img src=x onerror=\"document.title='hit'\"><b>fox</b>", tokens=2)
    visit.written("At most 2 new tokens")
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
    said = visit.page.locator("#text-status [role=alert]")
    expect(said).to_contain_text(message, ignore_case=True, timeout=SECONDS)
    assert visit.page.locator("#write").is_enabled()


def test_three_methods_beside_it_are_too_many(visit: TextVisit) -> None:
    for method in ("RIA", "Random"):
        visit.page.locator("#beside").get_by_text(method, exact=True).click()
    visit.write()
    visit.wait_for("up to 2 methods")
    for method in ("RIA", "Random"):  # the next tests write on this page
        visit.page.locator("#beside").get_by_text(method, exact=True).click()


def test_nothing_is_wider_than_the_screen(visit: TextVisit) -> None:
    fits_at(visit.page, 390, 1280)


def test_questions_without_a_network_say_so(visit: TextVisit) -> None:
    pytest.importorskip("lm_eval")
    visit.tab("Questions")
    page = visit.page
    page.click("#ask")
    page.wait_for_selector("#scores table", timeout=120_000)
    page.wait_for_selector("#questions-status :text('Done in')", timeout=120_000)
    table = page.inner_text("#scores")
    assert table.count("the Hub cannot be reached") == 7
    assert "ARC challenge" in table


STOP_ONCE_ALL_HAVE_GROWN = """() => {
    let before = null;
    const observer = new MutationObserver(() => {
        const columns = [...document.querySelectorAll("#texts .writing:has(.cursor) .text")];
        const lengths = columns.map((text) => text.textContent.length);
        if (lengths.length !== 3) return;
        before ??= lengths;
        if (lengths.some((length, i) => length <= before[i])) return;
        observer.disconnect();
        document.querySelector("#write-stop").click();
        document.body.dataset.grown = "yes";
    });
    observer.observe(document.querySelector("#texts"), {childList: true, subtree: true, characterData: true});
}"""
"""In the page itself: who looks from outside, on a busy machine, may come when the texts are at their end."""


def test_texts_grow_together_and_stop_ends_them(visit: TextVisit) -> None:
    visit.tab("Text")
    visit.page.evaluate(STOP_ONCE_ALL_HAVE_GROWN)
    visit.write(tokens=480, temperature=10)  # so hot, no text comes to its end by itself
    visit.page.wait_for_selector("body[data-grown]", timeout=SECONDS)
    visit.wait_for("Stopped")
    stopped = visit.texts()
    assert visit.page.locator("#texts .cursor").count() == 3, "the texts were at their end"
    visit.page.wait_for_timeout(1000)
    assert visit.texts() == stopped, "the texts went on after Stop"
    assert visit.page.locator("#write").is_enabled()
    # The machine is free again.
    visit.write(tokens=1)
    visit.written("At most 1 new tokens")
