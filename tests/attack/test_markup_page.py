"""Markup in every string of a visitor, seen by a browser: it is shown as the text it is, and nothing of it runs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from components.assets import ASSETS
from components.workspace.run_summary import as_json, summary_of
from tests.attack.client import Target, attacked
from tests.attack.test_markup import KIND, MARKUP, RUNS, protocol, rows
from tests.support.page import SECONDS, browser

pytestmark = [pytest.mark.long, pytest.mark.browser]
Tried = Callable[..., None]
FOLDER = f"=cmd() <img src=x onerror={RUNS}> ${{{RUNS}}} {{{{{RUNS}}}}}"
"""Of a model: all that the name of a folder can be."""
ALL = " ".join(MARKUP.values())
SMALL = "samples=2&length=64&windows=2"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """With the pocket model in such a folder; its configuration and its card have markup in them, too."""
    folder = tmp_path_factory.mktemp("models") / FOLDER
    shutil.copytree(ASSETS / "pocket", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_name_or_path": MARKUP["element"]}))
    (folder / "README.md").write_text(f"---\nlicense: '{MARKUP['element']}'\n---\n{MARKUP['closing']}\n")
    command = (sys.executable, "app.py", str(folder))
    with attacked(tmp_path_factory.mktemp("markup"), command=command) as target:
        yield target
        assert "Traceback" not in target.log_since(0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


class Look:
    """A page of which it is seen whether anything of the markup ran or became an element."""

    def __init__(self, chromium: Browser, tried: Tried) -> None:
        self.page: Page = chromium.new_page(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        self._faults: list[str] = []
        self._tried = tried
        self.page.on("dialog", lambda dialog: self._faults.append(dialog.message))
        self.page.on("pageerror", lambda error: self._faults.append(str(error)))

    def __call__(self, where: str) -> None:
        self.page.wait_for_timeout(500)  # an image that is not there says so a moment later
        assert self.page.evaluate("window.ran") is None, where
        made = self.page.locator('img[src="x"], svg[onload], [onmouseover], a[href^="javascript:"]')
        assert made.count() == 0, where
        assert self._faults == [], where
        self._tried(KIND)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_selector("body[data-restored]", timeout=SECONDS)

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_label(label, exact=True).click()
        self.page.get_by_role("option", name=option).first.click()

    def done(self, button: str, status: str) -> None:
        self.page.click(button)
        expect(self.page.locator(status)).to_contain_text("Done in", timeout=2 * SECONDS)


@pytest.fixture
def look(chromium: Browser, tried: Tried) -> Iterator[Look]:
    look = Look(chromium, tried)
    yield look
    look.page.close()


def test_a_look_sees_what_runs(look: Look) -> None:
    for content in (f'<img src="x" onerror="{RUNS}">', f"<script>{RUNS}</script>", "<svg onload=1>"):
        look.page.goto("about:blank")
        look.page.set_content(content)
        with pytest.raises(AssertionError):
            look("here")


def test_a_link(target: Target, look: Look) -> None:
    words = "%3Cimg+src%3Dx+onerror%3Dwindow.ran%3D1%3E+%24%7Bwindow.ran%3D1%7D+%7B%7Bx%7D%7D"
    look.open(f"{target.address}/?samples={words}&point={words}&layer={words}&view={words}&seeds={words}")
    expect(look.page.locator("#notice")).to_contain_text("<img src=x", timeout=SECONDS)
    look("a link")


def test_a_model_and_a_text_of_ones_own(target: Target, look: Look, tmp_path: Path) -> None:
    """Through every view, and into the report."""
    page = look.page
    look.open(f"{target.address}/?{SMALL}")
    page.locator("#model input").click()
    page.get_by_role("option", name="onerror").click()
    look("a model in the list")
    page.locator("#text-fold").get_by_role("button").first.click()
    look.choose("Calibration text", "My own")
    page.locator("#own-text textarea").fill((ALL + " ") * 40)
    look.done("#run", "#status")
    expect(page.locator("#summary")).to_contain_text("<img src=x", timeout=SECONDS)
    look("Cost")
    with page.expect_download(timeout=SECONDS) as download:
        page.click("#report")
    report = tmp_path / "report.html"
    download.value.save_as(report)
    assert "<img" not in download.value.suggested_filename
    page.get_by_role("tab", name="Inside").click()
    expect(page.locator("#inside-title")).to_contain_text("layers", timeout=2 * SECONDS)
    look.done("#inspect", "#inspect-status")
    look("Inside")
    page.get_by_role("tab", name="Text").click()
    page.locator("#prompt textarea").fill(ALL)
    look.done("#write", "#text-status")
    expect(page.locator("#texts")).to_contain_text("<img src=x", timeout=SECONDS)
    look("Text")
    page.get_by_role("tab", name="Take away").click()
    look.done("#export-run", "#export-status")
    look("Take away")
    page.goto(f"{target.address}/runs")
    # Kept in a form that holds no markup at all.
    expect(page.locator("#runs-table")).to_contain_text("img src x onerror", timeout=SECONDS)
    look("Runs")
    page.goto(report.as_uri())
    expect(page.locator("body")).to_contain_text("<img src=x", timeout=SECONDS)
    look("the report")


def test_an_uploaded_text(target: Target, look: Look) -> None:
    page = look.page
    look.open(f"{target.address}/?source=pocket&{SMALL}")
    page.locator("#text-fold").get_by_role("button").first.click()
    look.choose("Calibration text", "A file")
    name = f"=cmd() <img src=x onerror={RUNS}> ${{{RUNS}}} {{{{x}}}}.txt"
    file = {"name": name, "mimeType": "text/plain", "buffer": ((ALL + " ") * 40).encode()}
    page.locator("#text-file input[type=file]").set_input_files(file)
    look.done("#run", "#status")
    expect(page.locator("#summary")).to_contain_text("Measured here", timeout=SECONDS)
    look("an uploaded text")


def test_a_saved_file(target: Target, look: Look, tmp_path: Path) -> None:
    """Results of somebody else, as far as the page takes them: markup where it may be, in errors and the protocol."""
    recorded = json.loads((ASSETS / "recorded" / "cost-pocket.json").read_text(encoding="utf-8"))
    recorded.pop("layers")
    own = ("source", "calibration", "evaluation", "device")
    recorded["protocol"] |= dict.fromkeys(own, MARKUP["element"])
    recorded["rows"][1] |= {"error": ALL, "perplexity": None}
    recorded["rows"][2] |= {"pattern": "=cmd()"}
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(recorded))
    look.open(f"{target.address}/?source=pocket")
    look.page.set_input_files("#open-saved input, input[type=file][accept='.json']", file)
    expect(look.page.locator("#views")).to_contain_text("From a saved file", timeout=SECONDS)
    expect(look.page.locator("#points")).to_contain_text("<img src=x", timeout=SECONDS)
    look("a saved file")


def test_imported_runs(target: Target, look: Look, tmp_path: Path) -> None:
    kept = summary_of("0" * 16, protocol("x"), rows("x")[:3], "samples=2")
    file = tmp_path / "runs.json"
    file.write_text(as_json([replace(kept, note=ALL[:200])]))
    look.page.goto(f"{target.address}/runs")
    look.page.wait_for_selector("#runs-list", timeout=SECONDS)
    look.page.locator("input[type=file]").set_input_files(file)
    expect(look.page.locator("#runs-table")).to_contain_text("<img src=x", timeout=SECONDS)
    look.page.wait_for_selector("#runs-chart .main-svg", timeout=SECONDS)
    look("imported runs")
