"""The Speed and export view in Chromium: measure, read the table, export, and load what was downloaded."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.page import Visit
from wanda_core import load, load_masks, load_packed

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(visit: Visit) -> Visit:
    for label, value in {"Calibration windows": "2", "Evaluation windows": "2"}.items():
        visit.number(label, value)
    visit.tab("Speed and export")
    return visit


def export(visit: Visit, kind: str, folder: Path) -> Path:
    """Press Export; the file that Download gives."""
    visit.page.locator("#kind").get_by_text(kind).click()
    visit.page.click("#export-run")
    visit.page.wait_for_selector("#export-status :text('Done in')", timeout=60_000)
    with visit.page.expect_download() as download:
        visit.page.click("#download")
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_before_any_run_it_shows_a_recorded_one_and_says_so(visit: Visit) -> None:
    assert "A recorded measurement of SmolLM2-135M-Instruct" in visit.page.inner_text("#speed-summary")
    assert visit.page.locator("#speed-model .js-plotly-plot .bars .point").count() == 8
    assert visit.page.locator("#speed-shapes .js-plotly-plot .bars .point").count() > 12
    assert "no CUDA device" in visit.page.inner_text("#speed-protocol")


def test_measure(visit: Visit) -> None:
    visit.page.click("#speed-run")
    visit.page.wait_for_selector("#speed-status :text('Done in')", timeout=180_000)
    assert "Measured here, now, on pocket" in visit.page.inner_text("#speed-summary")
    rows = {
        row.locator("th").evaluate("th => th.firstChild.textContent"): row.locator("td").nth(1).inner_text()
        for row in visit.page.locator("#size-table tbody tr").all()
    }
    assert rows["Dense file"] == rows["The same with zeros"] == "100%"
    assert float(rows["Packed file (2:4)"].rstrip("%")) < 65  # embeddings are dense
    if not torch.cuda.is_available():
        text = visit.page.inner_text("#speed-protocol") + visit.page.inner_text("#speed-shapes")
        assert "CUDA: no CUDA device on this machine" in text
        assert "CUTLASS" not in text


def test_stop(visit: Visit) -> None:
    visit.page.click("#speed-run")
    visit.page.wait_for_selector("#speed-status progress")
    visit.page.click("#speed-stop")
    visit.page.wait_for_selector("#speed-status :text('Stopped')", timeout=10_000)


def test_an_exported_folder_loads_with_transformers(visit: Visit, tmp_path: Path) -> None:
    file = export(visit, "Model folder", tmp_path)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    network = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)("Once upon a time", return_tensors="pt")["input_ids"]
    masks = load_masks(folder / "masks.safetensors")
    dense = load("pocket")
    for layer in dense.prunable.layers:
        weight = network.get_parameter(f"{layer.name}.weight")
        assert weight.equal(torch.where(masks[layer.name].unpack(), layer.weight, 0))
    assert network.generate(ids, max_new_tokens=4, do_sample=False).shape[1] > ids.shape[1]
    assert "license: apache-2.0" in (folder / "README.md").read_text()


def test_a_packed_export_is_the_same_model(visit: Visit, tmp_path: Path) -> None:
    visit.page.get_by_label("2:4", exact=True).check()
    file = export(visit, "Packed", tmp_path)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    weight = load_packed(folder).model.layers[2].mlp.down_proj.weight
    assert set((weight.view(-1, 4) != 0).sum(dim=1).tolist()) == {2}


def test_masks_alone(visit: Visit, tmp_path: Path) -> None:
    with zipfile.ZipFile(export(visit, "Masks alone", tmp_path)) as archive:
        archive.extractall(tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    masks = load_masks(folder / "masks.safetensors")
    assert masks.keys() == {layer.name for layer in load("pocket").prunable.layers}
    assert "## Fine-tune and keep the zeros" in (folder / "README.md").read_text()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(chromium: Browser, address: str, width: int) -> None:
    narrow = Visit(chromium, address, width)
    narrow.tab("Speed and export")
    narrow.page.wait_for_selector("#speed-model .js-plotly-plot")
    assert narrow.page.evaluate("document.documentElement.scrollWidth") <= width
    narrow.page.close()
