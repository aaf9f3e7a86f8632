"""The view How far in Chromium: sweeps, budgets, saved files, claims; and links that restore the settings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from uuid import uuid4

import pytest
from gradio.utils import get_upload_folder
from playwright.sync_api import Browser

from tests.support.page import Visit
from wanda_core.__main__ import main
from wanda_core.assets import ASSETS
from wanda_core.experiments.budget import reach

pytestmark = pytest.mark.browser


POCKET = ASSETS / "pocket"


@pytest.fixture
def visit(visit: Visit) -> Visit:
    visit.tab("How far?")
    visit.page.wait_for_selector("#sweep-chart .js-plotly-plot")
    return visit


def swept(visit: Visit, seconds: float = 120) -> None:
    visit.page.click("#sweep")
    visit.page.wait_for_selector("#sweep-status :text('Done in')", timeout=1000 * seconds)


def saved(visit: Visit, kind: str, folder: Path) -> Path:
    with visit.page.expect_download() as download:
        visit.page.click(f"#{kind}")
    file = folder / f"saved.{kind}"
    download.value.save_as(file)
    return file


def uploaded(name: str) -> list[Path]:
    """Files of that name that the server has kept."""
    return list(Path(get_upload_folder()).glob(f"**/{name}"))


def test_the_first_look_is_a_recorded_sweep_and_says_so(visit: Visit) -> None:
    assert "A recorded sweep of SmolLM2-135M-Instruct" in visit.page.inner_text("#sweep-label")
    assert "Wanda" in visit.page.inner_text("#reach")
    assert "does not hold here" in visit.page.inner_text("#claims")


def test_a_sweep_its_budget_and_its_files(visit: Visit, tmp_path: Path) -> None:
    swept(visit)
    label = visit.page.inner_text("#sweep-label")
    assert "Measured here, now, on pocket: 11 of 11 points" in label
    lines = visit.page.locator("#sweep-chart .scatterlayer .trace").count()
    assert lines == 3  # dense, and two methods
    content = json.loads(saved(visit, "json", tmp_path).read_text())
    rows = [row for row in content["rows"] if row["method"] == "wanda"]
    assert [row["sparsity"] for row in rows] == [0.3, 0.5, 0.6, 0.7, 0.8]
    assert len(saved(visit, "csv", tmp_path).read_text().splitlines()) == 12

    points = [(row["sparsity_reached"], row["perplexity"]) for row in rows]
    dense = content["rows"][0]["perplexity"]
    for percent in (3, 150):
        field = visit.page.locator("#budget input[type=number]")
        field.fill(str(percent))
        field.press("Tab")
        found = reach(points, dense, percent / 100)
        visit.page.wait_for_selector(f"#reach :text('At most {percent}% worse')")
        row = visit.page.locator("#reach tr", has_text="Wanda").inner_text()
        assert f"{found.sparsity:.0%}" in row
        assert ("interpolated" in row) == (not found.measured)

    ends = {}
    for method in ("magnitude", "wanda"):
        own = [(r["sparsity_reached"], r["perplexity"]) for r in content["rows"] if r["method"] == method]
        if not (end := reach(own, dense, 1.5)).measured:
            ends[method] = int(100 * end.sparsity + 1e-6) / 100
    assert ends  # else this test shows nothing
    visit.page.click("#measure-ends")
    visit.page.wait_for_selector(f"#sweep-label :text('{11 + len(ends)} of {11 + len(ends)} points')")
    visit.page.wait_for_selector("#sweep-status :text('Done in')")
    rows = json.loads(saved(visit, "json", tmp_path).read_text())["rows"]
    measured = {(row["method"], row["sparsity"]): row["perplexity"] for row in rows}
    for method, sparsity in ends.items():
        assert measured[method, sparsity] <= 2.5 * dense * 1.02  # the curve bends upwards


def test_page_and_command_line_measure_the_same(visit: Visit, tmp_path: Path) -> None:
    swept(visit)
    page = json.loads(saved(visit, "json", tmp_path).read_text())["rows"]
    file = tmp_path / "compare.json"
    text = ["--calibration", str(POCKET / "calibration.txt"), "--evaluation", str(POCKET / "evaluation.txt")]
    sizes = ["--samples", "16", "--length", "256", "--windows", "32", "--eval-length", "256"]
    methods = ["--methods", "magnitude,wanda", "--sparsities", "0.5,0.8"]
    assert main(["compare", "pocket", *methods, *text, *sizes, "--json", str(file)]) == 0
    by_name = {(row["method"], row["sparsity"]): row for row in page}
    for row in json.loads(file.read_text())["rows"]:
        assert f"{by_name[row['method'], row['sparsity']]['perplexity']:.6g}" == f"{row['perplexity']:.6g}"
        assert set(row) == set(page[0])


def test_stop_keeps_what_is_there_and_the_next_sweep_goes_on(visit: Visit, tmp_path: Path) -> None:
    visit.number("Evaluation windows", "150")
    visit.page.click("#sweep")
    visit.page.wait_for_selector("#sweep-label :text('Measured here')", timeout=60_000)
    visit.page.wait_for_selector("#sweep-status progress")
    visit.page.click("#stop-sweep")
    visit.page.wait_for_selector("#sweep-status :text('Stopped')", timeout=20_000)
    assert "of 11 points" in visit.page.inner_text("#sweep-label")
    kept = json.loads(saved(visit, "json", tmp_path).read_text())["rows"]
    assert 0 < len(kept) < 11
    swept(visit)
    rows = json.loads(saved(visit, "json", tmp_path).read_text())["rows"]
    assert len(rows) == 11
    # Measured again they would have taken another time.
    times = [(row["prune_seconds"], row["evaluate_seconds"]) for row in kept]
    assert [(row["prune_seconds"], row["evaluate_seconds"]) for row in rows[: len(kept)]] == times


def test_several_calibrations_and_a_text_that_cannot_be_had(visit: Visit) -> None:
    for percent in (30, 60, 70, 80):
        visit.page.get_by_label(f"{percent}%", exact=True).uncheck()
    visit.page.get_by_text("How much does the calibration matter?").click()
    visit.page.get_by_label("Calibration windows").last.fill("1, 4")
    for text in ("WikiText-2", "Stories", "Random tokens"):
        visit.page.locator("#sensitivity").get_by_label(text, exact=True).check()
    swept(visit)
    visit.page.wait_for_selector("#sensitivity-chart .js-plotly-plot")
    visit.page.get_by_text("All 8 points").click()
    table = visit.page.inner_text("#sweep-table")
    assert table.count("Random tokens") == 2
    assert "the Hub cannot be reached" in table
    assert "0.0%" in table  # the first calibration's masks are its own


def test_what_was_not_measured_here_has_no_ends_to_measure(visit: Visit) -> None:
    visit.page.click("#measure-ends")
    visit.page.wait_for_selector("#sweep-status :text('was not measured here')")


def test_a_saved_sweep_opens_without_its_model(visit: Visit, tmp_path: Path) -> None:
    content = json.loads((POCKET.parent / "recorded" / "sweep-amounts.json").read_text())
    content["protocol"]["source"] = "somebody/elses-model"
    file = tmp_path / f"{uuid4()}.json"
    file.write_text(json.dumps(content))
    visit.page.set_input_files("#open-saved input, input[type=file]", file)
    visit.page.wait_for_selector("#sweep-label :text('somebody/elses-model')")
    assert "From a saved file" in visit.page.inner_text("#sweep-label")
    assert uploaded(file.name) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("rows"),
        lambda content: content["rows"][1].update(perplexity="12"),
        lambda content: content["rows"][1].update(method="<b onmouseover=alert(1)>x</b>"),
        lambda content: content["rows"][1].update(perplexity=-1),
        lambda content: content["rows"][1].update(perplexity=5e-324),
        lambda content: content["rows"][1].update(perplexity=10**400),
        lambda content: content["rows"][1].update(sparsity=math.inf),
        lambda content: content["protocol"].update(date="half a fox \ud83e"),
        lambda content: content["protocol"].pop("device"),
        lambda content: content["protocol"].update(threads={"a": []}),
        lambda content: content.update(rows=[]),
    ],
)
def test_a_file_that_is_none_is_refused(visit: Visit, tmp_path: Path, damage) -> None:
    content = json.loads((POCKET.parent / "recorded" / "sweep-amounts.json").read_text())
    damage(content)
    file = tmp_path / f"{uuid4()}.json"
    file.write_text(json.dumps(content))
    visit.page.set_input_files("#open-saved input, input[type=file]", file)
    visit.page.wait_for_selector("#sweep-status [role=alert]")
    assert "no saved sweep" in visit.page.inner_text("#sweep-status")
    assert uploaded(file.name) == []


def test_a_link_restores_the_settings_in_a_fresh_browser(
    visit: Visit, chromium: Browser, address: str
) -> None:
    visit.page.get_by_label("SparseGPT").first.check()
    visit.page.get_by_label("40%", exact=True).check()
    visit.page.wait_for_function("location.search.includes('40') && location.search.includes('sparsegpt')")
    link = visit.page.url
    fresh = Visit(chromium, link)  # each visit has its own cookies and storage
    fresh.page.wait_for_selector("#notice :text('those of the link')")
    fresh.page.wait_for_selector("#sweep-chart .js-plotly-plot")  # its tab is open
    assert fresh.page.get_by_label("SparseGPT").first.is_checked()
    assert fresh.page.get_by_label("40%", exact=True).is_checked()
    fresh.page.close()
    fresh = Visit(chromium, f"{address}/?sparsity=nonsense&tab=%3Cscript%3E&model=../../etc")
    fresh.page.wait_for_selector("#notice [role=alert]")
    assert fresh.page.get_by_label("Magnitude", exact=True).is_checked()
    fresh.page.close()
