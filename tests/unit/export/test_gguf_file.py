"""A GGUF source written as GGUF: what is pruned is replaced, in its type and its place, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, dequantize, quantize
from torch import Tensor

from tests.support.architectures import EXPERTS, build
from tests.support.gguf import WIDTH, tiny_gguf, tiny_gpt2_gguf
from tests.support.models import assert_untouched, byte_tokenizer, snapshot, tiny
from wanda_core import LanguageModel, Recipe, Refused, load
from wanda_core.export import gguf_tensors
from wanda_core.export.gguf_file import check_writable, save_gguf, written_notes
from wanda_core.method.bits import TYPES
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

HEADS = 4


@pytest.fixture
def model(tmp_path: Path) -> LanguageModel:
    return load(str(tiny_gguf(tmp_path / "source.gguf", chat_template="{{ messages }}", license="mit")))


@pytest.fixture
def pruning(model: LanguageModel, tokens: Tensor) -> Pruning:
    return prune(model.prunable, tokens, Recipe(sparsity=0.6))


def tensors(file: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in GGUFReader(file).tensors}


def in_blocks(weight: np.ndarray, bits: int) -> np.ndarray:
    """What a matrix is after GGUF's rounding, from the formats' definition: 32 weights of a row share a scale, a
    half-precision number. F16 has no scale; Q8_0 divides by the largest magnitude over 127 and rounds half away from
    zero; Q4_0 by the value of largest magnitude over -8, rounds, and keeps what fits 0 to 15 after adding 8."""
    if bits == 16:
        return weight.astype(np.float16).astype(np.float32)
    blocks = weight.astype(np.float64).reshape(-1, 32)
    largest = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(axis=1)][:, None]
    scale = np.abs(largest) / 127 if bits == 8 else largest / -8
    units = np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale != 0)
    whole = (
        np.sign(units) * np.floor(np.abs(units) + 0.5) if bits == 8 else np.floor(units + 8.5).clip(0, 15) - 8
    )
    return (whole * scale.astype(np.float16).astype(np.float64)).astype(np.float32).reshape(weight.shape)


@pytest.mark.parametrize("bits", list(TYPES))
def test_the_pruned_tensors_are_replaced_in_their_type(
    bits: int, model: LanguageModel, pruning: Pruning, tmp_path: Path
) -> None:
    before = snapshot(model.network)
    save_gguf(model, pruning.in_bits(bits), {}, tmp_path / "out.gguf")
    assert_untouched(model.network, before)
    written = tensors(tmp_path / "out.gguf")
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for layer in model.prunable.layers:
        tensor = written.pop(f"blk.{layer.block}.{names[layer.kind]}.weight")
        assert tensor.tensor_type.name == TYPES[bits]
        found = dequantize(tensor.data, tensor.tensor_type)
        mask = pruning.masks[layer.name].unpack()
        pruned = torch.where(mask, layer.weight, 0).numpy()
        if layer.kind in ("self_attn.q_proj", "self_attn.k_proj"):
            # As llama.cpp's converter orders them: the two halves of a head's rows in turns.
            halves = (pruned, mask.numpy())
            pruned, mask = (
                half.reshape(HEADS, 2, WIDTH // HEADS // 2, WIDTH).swapaxes(1, 2).reshape(WIDTH, WIDTH)
                for half in halves
            )
            mask = torch.from_numpy(mask)
        assert (found[~mask.numpy()] == 0).all()
        np.testing.assert_allclose(found, in_blocks(pruned, bits), rtol=2e-6, atol=1e-9)
    source = tensors(tmp_path / "source.gguf")
    assert {"token_embd.weight", "output_norm.weight", "blk.1.ffn_norm.weight"} <= written.keys()
    for name, tensor in written.items():
        assert tensor.tensor_type == source[name].tensor_type
        assert tensor.data.tobytes() == source[name].data.tobytes()


def test_settings_and_tokenizer_are_kept(model: LanguageModel, pruning: Pruning, tmp_path: Path) -> None:
    save_gguf(model, pruning.in_bits(8), {"text": "random"}, tmp_path / "out.gguf")
    source, written = (
        {
            name: (field.types, field.contents())
            for name, field in GGUFReader(tmp_path / file).fields.items()
            if not name.startswith("GGUF.")
        }
        for file in ("source.gguf", "out.gguf")
    )
    assert {"tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.chat_template"} <= source.keys()
    assert {name: written[name] for name in source} == source
    assert written.keys() - source.keys() == {
        "general.file_type",
        "general.quantization_version",
        "wanda_lab.pruning",
    }
    assert written["general.file_type"][1] == 7  # mostly Q8_0
    about = json.loads(written["wanda_lab.pruning"][1])
    assert Recipe(**about["recipe"]) == pruning.in_bits(8).recipe
    assert (about["source"], about["calibration"]) == ("source.gguf", {"text": "random"})


def test_the_file_is_a_source_again(model: LanguageModel, pruning: Pruning, tmp_path: Path) -> None:
    """What is rounded already stays as it is: of as many zeros or more, none but zeros are pruned again."""
    save_gguf(model, pruning.in_bits(8), {}, tmp_path / "once.gguf")
    again = load(str(tmp_path / "once.gguf"))
    pruned = sum(report.pruned for report in pruning.reports)
    assert sum(int((layer.weight == 0).sum()) for layer in again.prunable.layers) >= pruned
    same = prune(again.prunable, torch.randint(256, (4, 24)), Recipe(method="magnitude"))
    save_gguf(again, same.in_bits(8), {}, tmp_path / "twice.gguf")
    first, second = tensors(tmp_path / "once.gguf"), tensors(tmp_path / "twice.gguf")
    assert [name for name in first if second[name].data.tobytes() != first[name].data.tobytes()] == []


@pytest.mark.parametrize("bits", list(TYPES))
def test_matrices_that_are_loaded_transposed(bits: int, tokens: Tensor, tmp_path: Path) -> None:
    """Also norms and kept values that a recovery has changed."""
    model = load(str(tiny_gpt2_gguf(tmp_path / "source.gguf")))
    pruning = prune(model.prunable, tokens, Recipe(pattern="2:4", recovery="blocks"))
    assert any(norm.name in pruning.changed for norm in model.prunable.norms)
    save_gguf(model, pruning.in_bits(bits), {}, tmp_path / "out.gguf")
    written, source = tensors(tmp_path / "out.gguf"), tensors(tmp_path / "source.gguf")
    layer = next(layer for layer in model.prunable.layers if layer.name == "transformer.h.1.mlp.c_proj")
    weight = pruning.weight(layer).numpy()
    assert weight.shape == (WIDTH, 4 * WIDTH)
    tensor = written["blk.1.ffn_down.weight"]
    found = dequantize(tensor.data, tensor.tensor_type)
    np.testing.assert_allclose(found, in_blocks(weight, bits), rtol=2e-6, atol=1e-9)
    assert (found.reshape(-1, 4) != 0).sum(axis=1).max() == 2
    norm = model.prunable.norms[0]
    assert norm.name == "transformer.h.0.ln_1.weight"
    assert np.array_equal(written["blk.0.attn_norm.weight"].data, pruning.changed.get(norm.name).numpy())
    assert not np.array_equal(written["blk.0.attn_norm.weight"].data, source["blk.0.attn_norm.weight"].data)
    assert np.array_equal(written["blk.0.ffn_up.bias"].data, source["blk.0.ffn_up.bias"].data)


def test_rows_that_are_no_whole_blocks_stay_f16(tokens: Tensor, tmp_path: Path) -> None:
    model = load(str(tiny_gguf(tmp_path / "source.gguf", middle=48)))
    pruning = prune(model.prunable, tokens, Recipe())
    save_gguf(model, pruning.in_bits(4), {}, tmp_path / "out.gguf")
    written = tensors(tmp_path / "out.gguf")
    assert written["blk.0.ffn_down.weight"].tensor_type == GGMLQuantizationType.F16
    assert written["blk.0.ffn_up.weight"].tensor_type == GGMLQuantizationType.Q4_0
    said = "`mlp.down_proj` stays F16: its rows of 48 are no whole blocks of 32."
    assert written_notes(model, 4)[1:] == [said]
    assert said in (tmp_path / "out.md").read_text()
    assert written_notes(model, 16)[1:] == []


def test_the_card_says_how_to_run_it(model: LanguageModel, pruning: Pruning, tmp_path: Path) -> None:
    save_gguf(model, pruning, {}, tmp_path / "deep" / "er" / "mine.gguf")
    assert {file.name for file in (tmp_path / "deep" / "er").iterdir()} == {"mine.gguf", "mine.md"}
    card = (tmp_path / "deep" / "er" / "mine.md").read_text()
    assert "license: mit" in card
    assert "llama-cli -m mine.gguf" in card
    assert "llama.cpp has no sparse format" in card
    assert str(tmp_path) not in card
    assert "```python" not in card


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        ("out.gguf", "exists already: choose a new file"),
        ("out.md", "out.md exists already: choose a new file"),
        ("out.gguf/", "out.gguf is a folder: give a file"),
    ],
)
def test_a_name_in_use_is_refused(
    taken: str, reason: str, model: LanguageModel, pruning: Pruning, tmp_path: Path
) -> None:
    if taken.endswith("/"):
        (tmp_path / taken).mkdir()
    else:
        (tmp_path / taken).write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Refused, match=reason):
        save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    assert sorted(tmp_path.iterdir()) == before


def test_a_disk_that_fills_leaves_nothing(
    model: LanguageModel, pruning: Pruning, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wanda_core.export.gguf_file.check_destination", lambda *_, **__: None)
    with pytest.raises(Refused, match="not written") as caught:
        save_gguf(model, pruning, {}, small_disk / "out.gguf")
    assert "\n" not in str(caught.value)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("step", ["_write_tensors", "model_card", "read_back"])
def test_an_export_that_breaks_off_leaves_nothing(
    step: str, model: LanguageModel, pruning: Pruning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"wanda_core.export.gguf_file.{step}", fail)
    with pytest.raises(KeyboardInterrupt):
        save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]


def test_the_card_goes_where_the_file_cannot_appear(
    model: LanguageModel, pruning: Pruning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its name already when the file is to have its own."""
    replace = Path.replace

    def full(stage: Path, target: Path) -> Path:
        if stage.suffix == ".gguf":
            assert (tmp_path / "out.md").is_file()
            raise OSError(28, "No space left on device")
        return replace(stage, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(Refused, match="the disk is full"):
        save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]


def broken(fault: str) -> dict[str, Any]:
    """What is to stand in place of the module's own, so that the file is wrong."""
    whole = gguf_tensors.in_type

    def offset(name: str, weight: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
        """Zeros come back as they do of types with an offset."""
        return whole(name, np.where(weight == 0, np.float32(1e-3), weight), kind)

    def unmoved(_places: object, _name: str, loaded: np.ndarray, _shape: object) -> np.ndarray:
        return loaded

    return {
        "zeros": {"wanda_core.export.gguf_tensors.in_type": offset},
        "rows": {"wanda_core.export.gguf_tensors.Places.in_file": unmoved},
    }[fault]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("zeros", "zeros of model.layers.0.self_attn.q_proj are not zero"), ("rows", "are not zero")],
)
def test_a_file_that_is_wrong_does_not_appear(
    fault: str,
    reason: str,
    model: LanguageModel,
    pruning: Pruning,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, wrong in broken(fault).items():
        monkeypatch.setattr(name, wrong)
    with pytest.raises(Refused, match=reason):
        save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]


def test_another_tensor_or_setting_is_seen(
    model: LanguageModel, pruning: Pruning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that is not pruned, by its bits; and a setting that changes what is computed, by the logits."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "wanda_core.export.gguf_tensors.Entry.nbytes", property(lambda entry: _spoiled(entry).nbytes)
        )
        with pytest.raises(Refused, match=r"lm_head.weight differs|embed_tokens.weight differs"):
            save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    tiny_gguf(tmp_path / "source.gguf", epsilon=1.0)
    monkeypatch.setattr("wanda_core.export.gguf_file.gguf_fingerprint", lambda *_: model.fingerprint)
    with pytest.raises(Refused, match="logits differ by"):
        save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]


def _spoiled(entry: gguf_tensors.Entry) -> np.ndarray:
    data = entry.data()
    if entry.name == "token_embd.weight":
        data = data.copy()
        data[3, 5] += 1
        object.__setattr__(entry, "data", lambda: data)
    return data


def test_values_that_f16_cannot_hold(tmp_path: Path, tokens: Tensor) -> None:
    model = load(str(tiny_gguf(tmp_path / "source.gguf")))
    model.prunable.layers[0].stored[3, 5] = 70_000
    pruning = prune(model.prunable, tokens, Recipe())
    with pytest.raises(Refused, match=r"attn_q.weight holds NaN or a value above 65,504"):
        save_gguf(model, pruning, {}, tmp_path / "out.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["source.gguf"]


def test_what_cannot_be_written_is_refused(model: LanguageModel, tmp_path: Path) -> None:
    tiny("opt").save_pretrained(tmp_path / "opt")
    byte_tokenizer().save_pretrained(tmp_path / "opt")
    said = r"its family is opt; llama, qwen2, qwen3 are.*convert_hf_to_gguf\.py DIR --outfile model\.gguf"
    with pytest.raises(Refused, match=said):
        check_writable(load(str(tmp_path / "opt")), Recipe())
    build(*EXPERTS["mixtral"]).save_pretrained(tmp_path / "experts")
    byte_tokenizer().save_pretrained(tmp_path / "experts")
    with pytest.raises(Refused, match=r"mixture of experts .*convert_hf_to_gguf\.py"):
        check_writable(load(str(tmp_path / "experts")), Recipe())
    tiny_gguf(tmp_path / "source.gguf", blocks=1)
    with pytest.raises(Refused, match=r"source\.gguf is not the file any more that was loaded"):
        check_writable(model, Recipe())


def test_zeros_do_not_survive_the_types_that_are_not_offered() -> None:
    """Why they are not."""
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(64, 256)).astype(np.float32) * (draw.random((64, 256)) < 0.5)
    survived = {
        kind: float((dequantize(quantize(weight, kind), kind)[weight == 0] == 0).mean())
        for kind in map(GGMLQuantizationType, (1, 2, 8, 3, 7))
    }
    assert [survived[GGMLQuantizationType[name]] for name in TYPES.values()] == [1, 1, 1]
    assert survived[GGMLQuantizationType.Q4_1] < 0.1
    assert survived[GGMLQuantizationType.Q5_1] < 0.1
