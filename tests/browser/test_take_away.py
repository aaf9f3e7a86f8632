"""Take away in Chromium: export the point in focus, and load what was downloaded."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.page import SECONDS
from wanda_core import load, load_masks, load_packed

pytestmark = pytest.mark.browser
LINK = "?source=pocket&calibration=stories&evaluation=stories&samples=2&length=64&windows=2&view=take-away"


@pytest.fixture(scope="module")
def page_that_stays(chromium: Browser, address: str) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    page.goto(f"{address}/{LINK}")
    yield page
    page.close()


@pytest.fixture
def page(page_that_stays: Page) -> Iterator[Page]:
    """The view, on which nothing may go wrong: one page for all exports, as to open one takes longer than they do."""
    faults: list[str] = []
    page_that_stays.on("pageerror", lambda error: faults.append(str(error)))
    yield page_that_stays
    assert faults == []


def export(page: Page, kind: str, name: str, folder: Path) -> Path:
    """Press Export, and unpack the file that Download gives under this name; "Done in" may be of the export before."""
    page.locator("#kind").get_by_text(kind).click()
    page.click("#export-run")
    expect(page.locator("#download")).to_contain_text(name, timeout=SECONDS)
    page.wait_for_selector("#export-status :text('Done in')", timeout=SECONDS)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == name
    download.value.save_as(folder / name)
    with zipfile.ZipFile(folder / name) as archive:
        archive.extractall(folder)
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def test_an_exported_folder_loads_with_transformers(page: Page, tmp_path: Path) -> None:
    folder = export(page, "Model folder", "pocket-wanda-50.zip", tmp_path)
    network = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)("Once upon a time", return_tensors="pt")["input_ids"]
    masks = load_masks(folder / "masks.safetensors")
    dense = load("pocket")
    for layer in dense.prunable.layers:
        weight = network.get_parameter(f"{layer.name}.weight")
        assert weight.equal(torch.where(masks[layer.name].unpack(), layer.weight, 0))
    assert network.generate(ids, max_new_tokens=4, do_sample=False).shape[1] > ids.shape[1]
    assert "license: apache-2.0" in (folder / "README.md").read_text()


def test_masks_alone(page: Page, tmp_path: Path) -> None:
    folder = export(page, "Masks alone", "pocket-wanda-50-masks.zip", tmp_path)
    masks = load_masks(folder / "masks.safetensors")
    assert masks.keys() == {layer.name for layer in load("pocket").prunable.layers}
    assert "## Fine-tune and keep the zeros" in (folder / "README.md").read_text()


@pytest.mark.long
def test_a_gguf_file_has_the_zeros(page: Page, tmp_path: Path) -> None:
    folder = export(page, "Q8_0, 8.5 bits", "pocket-wanda-50-Q8_0.zip", tmp_path)
    found, masks = load(str(folder / "model.gguf")), load_masks(folder / "masks.safetensors")
    for layer in found.prunable.layers:
        assert layer.weight[~masks[layer.name].unpack()].eq(0).all()
    assert found.network.get_input_embeddings().weight.ne(0).any()


@pytest.mark.long
def test_a_packed_export_is_the_same_model(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/{LINK}&point=wanda-2:4")
    page.wait_for_selector("#focus-chip :text('Wanda 2:4')", timeout=SECONDS)
    folder = export(page, "Packed", "pocket-wanda-2of4.zip", tmp_path)
    weight = load_packed(folder).model.layers[2].mlp.down_proj.weight
    assert set((weight.view(-1, 4) != 0).sum(dim=1).tolist()) == {2}
