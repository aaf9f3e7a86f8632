"""What the bytes buy, in Chromium: the chart is of the points that are there, and drawn where it is open;
other models beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.page import SECONDS, Visit

pytestmark = pytest.mark.browser
SHORT = "source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=3"


def test_the_open_chart_follows_a_run_and_a_closed_one_is_not_drawn(chromium: Browser, address: str) -> None:
    visit = Visit(chromium, f"{address}/?{SHORT}&amounts=50&methods=wanda&bits=16,4")
    fold, rows = visit.page.locator("#bytes-fold button").first, visit.page.locator("#bytes-table tbody tr")
    fold.click()
    expect(visit.page.locator("#bytes-label")).to_contain_text("No point of this model", timeout=SECONDS)
    visit.run()
    visit.wait_for("Done in", seconds=120)
    expect(rows).to_have_count(4, timeout=SECONDS)
    expect(rows.filter(has_text="Wanda 50% 4-bit")).to_have_count(1)
    expect(visit.page.locator("#bytes-best")).to_contain_text("the best measured point is")
    fold.click()
    visit.page.locator("#methods").get_by_text("Magnitude", exact=True).click()
    visit.run()
    expect(visit.page.locator("#points")).to_contain_text("Magnitude 50% 4-bit", timeout=SECONDS)
    fold.click()
    expect(rows).to_have_count(6, timeout=SECONDS)
    assert visit.faults == []
    visit.page.close()


def test_another_model_is_drawn_beside_it_and_a_pruned_one_looked_at(
    chromium: Browser, address: str, tmp_path: Path
) -> None:
    visit = Visit(chromium, f"{address}/?{SHORT}&amounts=50&methods=wanda")
    page = visit.page
    visit.run()
    visit.wait_for("Done in", seconds=120)
    with page.expect_download() as saved:
        page.locator("#json").click()
    content = json.loads(Path(saved.value.path()).read_text())
    content["protocol"] |= {
        "source": "someone/other",
        "bytes_per_token": 2 * content["protocol"]["bytes_per_token"],
    }
    (tmp_path / "other.json").write_text(json.dumps(content))
    page.locator("#bytes-fold button").first.click()
    rows = page.locator("#bytes-table tbody tr")
    expect(rows).to_have_count(2, timeout=SECONDS)
    with page.expect_file_chooser() as chosen:
        page.locator("#add-model").click()
    chosen.value.set_files(tmp_path / "other.json")
    expect(rows).to_have_count(4, timeout=SECONDS)
    expect(page.locator("#added-status")).to_contain_text("other is drawn beside it")
    expect(page.locator("#bytes-chart")).to_contain_text("bits per byte of text")
    page.locator("#remove-models").click()
    expect(rows).to_have_count(2, timeout=SECONDS)
    page.locator("#already button").first.click()
    page.locator("#check-model").click()
    expect(page.locator("#already-report")).to_contain_text("is not pruned", timeout=SECONDS)
    assert visit.faults == []
    page.close()
