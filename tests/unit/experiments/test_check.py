"""A model pruned elsewhere: its zeros are counted, the pattern that holds is named, changed values and bytes as they
are."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.gguf import tiny_gguf
from tests.support.models import byte_tokenizer, tiny
from wanda_core import LanguageModel, Recipe, Refused, Stopped, load
from wanda_core.experiments import check
from wanda_core.experiments.check import check_layers, check_sizes, pattern_of
from wanda_core.export.folder import save_pruned
from wanda_core.pruning.prune_model import prune


@pytest.fixture
def dense(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


@pytest.fixture
def pruned(dense: LanguageModel, tmp_path: Path) -> LanguageModel:
    """By hand: every second row of one layer zero, another 2:4 in which three kept weights of four changed."""
    network = tiny("llama")
    first, second = (
        network.model.layers[0].self_attn.q_proj.weight,
        network.model.layers[1].mlp.up_proj.weight,
    )
    first[::2] = 0
    second.view(-1, 4)[:, 1:3] = 0
    second.view(-1, 4)[:, 0] *= 2
    second.view(-1, 4)[::2, 3] += 1
    network.save_pretrained(tmp_path / "pruned")
    byte_tokenizer().save_pretrained(tmp_path / "pruned")
    return load(str(tmp_path / "pruned"))


def test_zeros_patterns_and_changes(pruned: LanguageModel, dense: LanguageModel) -> None:
    layers = {layer.name: layer for layer in check_layers(pruned, dense)}
    rows = layers.pop("model.layers.0.self_attn.q_proj")
    assert (rows.zeros, rows.weights, rows.sparsity, rows.pattern, rows.changed) == (512, 1024, 0.5, None, 0)
    pairs = layers.pop("model.layers.1.mlp.up_proj")
    assert (pairs.sparsity, pairs.pattern, pairs.changed) == (0.5, "2:4", 0.75)
    assert {(layer.zeros, layer.pattern, layer.changed) for layer in layers.values()} == {(0, None, 0)}
    assert {layer.changed for layer in check_layers(pruned)} == {None}


def kept(*rows: str) -> Tensor:
    """A mask of letters, `x` where kept; each row many times, in turns."""
    return torch.tensor([[letter == "x" for letter in row] * 8 for row in rows]).repeat(50, 1)


@pytest.mark.parametrize(
    ("mask", "pattern"),
    [
        (kept("xx..xx.."), "2:4"),
        (kept("xxxx....", "xx..xx.."), "4:8"),
        (kept("x...x...", "x.......", "x...x..."), "1:4"),  # as 2:8, of which 1:4 is the stronger
        (kept("xx..xx..", "x...x..."), "2:4"),  # kept weights that rounding made zero
        (kept("xxxxxxxx........"), "8:16"),
        (kept("xxxxxxxx"), None),
        (kept("........"), None),
        (kept("xxxx....", "....xxxx", "xxxxxxxx"), None),
        (kept("xx..xx..")[:, :6], None),  # rows that are no whole groups
        (torch.rand(400, 256, generator=torch.Generator().manual_seed(0)) < 0.5, None),
        (torch.rand(400, 256, generator=torch.Generator().manual_seed(0)) < 0.1, None),
    ],
)  # fmt: skip
def test_the_pattern_that_holds(mask: Tensor, pattern: str | None) -> None:
    assert pattern_of(mask) == pattern


def test_bytes_are_those_of_the_file(pruned: LanguageModel, tmp_path: Path) -> None:
    layers = check_layers(pruned)
    sizes = check_sizes(pruned, layers)
    file = tmp_path / "pruned" / "model.safetensors"
    assert sizes.file == file.stat().st_size
    assert abs(sizes.deflated - len(gzip.compress(file.read_bytes(), 6))) < 100  # but for its header
    weights, zeros = sum(layer.weights for layer in layers), 512 + 32 * 48 // 2
    assert abs(sizes.bitmask - (sizes.file - 4 * zeros + weights / 8)) < 0.05 * sizes.file


def test_what_an_export_adds_is_not_counted(dense: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    pruning = prune(dense.prunable, tokens, Recipe(sparsity=0.75))
    save_pruned(dense, pruning, tokens, {}, tmp_path / "out")
    again = load(str(tmp_path / "out"))
    layers = check_layers(again, dense)
    assert [layer.zeros for layer in layers] == [report.pruned for report in pruning.reports]
    sizes = check_sizes(again, layers)
    assert sizes.file == (tmp_path / "out" / "model.safetensors").stat().st_size
    assert sizes.deflated < 0.6 * sizes.file
    gguf = load(str(tiny_gguf(tmp_path / "tiny.gguf")))
    assert check_sizes(gguf, []).file == (tmp_path / "tiny.gguf").stat().st_size


def test_another_model_is_refused_and_a_stop_heard(pruned: LanguageModel, tmp_path: Path) -> None:
    other = load(str(tiny_gguf(tmp_path / "other.gguf")))
    with pytest.raises(
        Refused, match=r"other\.gguf is not what .* was pruned from: model\.layers\.0\.mlp\.down_proj"
    ):
        check_layers(pruned, other)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        check_layers(pruned, stop=stop)
    with pytest.raises(Stopped):
        check_sizes(pruned, [], stop=stop)


def test_an_export_in_order_is_held_against_the_weights_where_its_order_puts_them(
    dense: LanguageModel, tokens: Tensor, tmp_path: Path
) -> None:
    pruning = prune(dense.prunable, tokens, Recipe(pattern="2:4", order="channels"))
    save_pruned(dense, pruning, tokens, {}, tmp_path / "out")
    ordered = load(str(tmp_path / "out"))
    layers = check_layers(ordered, dense)
    assert {(layer.pattern, layer.changed) for layer in layers} == {("2:4", 0)}
    plain = check_sizes(ordered, layers).file
    assert plain == (tmp_path / "out" / "model.safetensors").stat().st_size
    orders = load_file(tmp_path / "out" / "order.safetensors")
    for wrong in (torch.zeros(32, dtype=torch.int64), torch.arange(31), torch.arange(32.0)):
        save_file(orders | {"residual": wrong}, tmp_path / "out" / "order.safetensors")
        with pytest.raises(Refused, match="residual is no order of the channels"):
            check_layers(ordered, dense)
    (tmp_path / "out" / "order.safetensors").write_bytes(b"no tensors")
    with pytest.raises(Refused, match=r"order\.safetensors is damaged"):
        check_layers(ordered, dense)


def test_a_large_file_is_compressed_in_evenly_spaced_pieces(
    pruned: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = check_sizes(pruned, []).deflated
    monkeypatch.setattr(check, "PIECE", 2048)
    monkeypatch.setattr(check, "SAMPLE", 16)
    read: list[float] = []
    sampled = check_sizes(pruned, [], on_progress=lambda doing, share, where: read.append(share)).deflated
    pieces = -(-(tmp_path / "pruned" / "model.safetensors").stat().st_size // 2048)
    assert pieces > 32
    assert 8 <= len(read) <= 16
    assert read[-1] == 1
    assert sampled == pytest.approx(whole, rel=0.1)
