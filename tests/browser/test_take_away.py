"""Take away in Chromium: export the point in focus, and load what was downloaded."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page
from transformers import AutoModelForCausalLM, AutoTokenizer

from wanda_core import load, load_masks, load_packed

pytestmark = pytest.mark.browser
LINK = "?source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=2&view=take-away"


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """The view, on which nothing may go wrong."""
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{address}/{LINK}")
    yield page
    page.close()
    assert faults == []


def export(page: Page, kind: str, folder: Path) -> Path:
    """Press Export; the file that Download gives."""
    page.locator("#kind").get_by_text(kind).click()
    page.click("#export-run")
    page.wait_for_selector("#export-status :text('Done in')", timeout=60_000)
    with page.expect_download() as download:
        page.click("#download")
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_an_exported_folder_loads_with_transformers(page: Page, tmp_path: Path) -> None:
    file = export(page, "Model folder", tmp_path)
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


def test_a_packed_export_is_the_same_model(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/{LINK}&point=wanda-2:4")
    page.wait_for_selector("#focus-chip :text('Wanda 2:4')")
    file = export(page, "Packed", tmp_path)
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    weight = load_packed(folder).model.layers[2].mlp.down_proj.weight
    assert set((weight.view(-1, 4) != 0).sum(dim=1).tolist()) == {2}


def test_masks_alone(page: Page, tmp_path: Path) -> None:
    with zipfile.ZipFile(export(page, "Masks alone", tmp_path)) as archive:
        archive.extractall(tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    masks = load_masks(folder / "masks.safetensors")
    assert masks.keys() == {layer.name for layer in load("pocket").prunable.layers}
    assert "## Fine-tune and keep the zeros" in (folder / "README.md").read_text()


def test_the_file_is_named_by_the_point_in_focus(page: Page, tmp_path: Path) -> None:
    assert export(page, "Masks alone", tmp_path).name == "pocket-wanda-50-masks.zip"
