"""Streamed models: weights stay in their file, one part is in memory at a time, and files that change are noticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.architectures import EXPERTS, build
from tests.support.gguf import tiny_gguf
from tests.support.models import CONFIGS, byte_tokenizer
from tests.support.streaming import Counted, both, stored_in_half
from wanda_core import Recipe, Refused, Sampling, generate_side_by_side, load, prune
from wanda_core.models import target as targets
from wanda_core.models.language_model import model_bytes, streaming_note
from wanda_core.models.load_streamed import refuse_unstreamable
from wanda_core.speed.model_latency import measure_model


@pytest.fixture
def source(tmp_path: Path) -> str:
    return stored_in_half("llama", tmp_path / "half")


@pytest.mark.parametrize("family", CONFIGS)
def test_it_computes_what_float32_computes(family: str, tokens: Tensor, tmp_path: Path) -> None:
    """To the bit: also what is computed from the configuration, such as the scale of Gemma's embeddings."""
    plain, streamed = both(stored_in_half(family, tmp_path))
    with torch.no_grad():
        wanted = plain.network(input_ids=tokens).logits
        assert torch.equal(streamed.network(input_ids=tokens).logits, wanted)
    assert streamed.fingerprint == plain.fingerprint
    assert (streamed.dtype, model_bytes(streamed)) == (plain.dtype, model_bytes(plain))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_other_dtypes_are_streamed_too(dtype: torch.dtype, tokens: Tensor, tmp_path: Path) -> None:
    plain, streamed = both(stored_in_half("llama", tmp_path, dtype))
    with torch.no_grad():
        wanted = plain.network(input_ids=tokens).logits
        assert torch.equal(streamed.network(input_ids=tokens).logits, wanted)


def test_the_weights_are_the_file(source: str) -> None:
    """What is written to the file is seen in the weights: they are not a copy of it."""
    model = load(source, stream=True)
    file = Path(source) / "model.safetensors"
    size = file.stat().st_size
    start = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(bytes(size - start))
    assert not any(bool(parameter.any()) for parameter in model.network.parameters())


def test_one_part_is_in_memory_at_a_time(source: str, tokens: Tensor) -> None:
    model = load(source, stream=True)
    kinds: list[set[torch.dtype]] = []
    blocks = model.prunable.blocks
    for block in blocks:
        block.register_forward_hook(
            lambda *_: kinds.append({p.dtype for p in model.network.parameters() if p.is_floating_point()})
        )
        block.register_forward_hook(
            lambda block, *_: kinds.append({p.dtype for p in block.parameters()})  # its own
        )
    counted = Counted(model)
    with torch.no_grad():
        model.network(input_ids=tokens)
    assert kinds == [{torch.float32, torch.bfloat16}, {torch.float32}] * len(blocks)
    assert set(counted.times) == {name for name, _ in model.network.named_parameters()}
    assert sum(values.nbytes for values in counted.values()) < model_bytes(model) / 3
    assert model.prunable.stream is not None
    model.prunable.stream.drop()
    assert {p.dtype for p in model.network.parameters()} == {torch.bfloat16}


def test_forwards_together_bring_each_weight_into_memory_once(source: str, tokens: Tensor) -> None:
    model = load(source, stream=True)
    stream = model.prunable.stream
    assert stream is not None
    counted, passed = Counted(model), []

    def forward() -> None:
        model.network(input_ids=tokens)

    with torch.no_grad():  # of the thread: a forward that waits must not be inside
        stream.together([forward] * 5, on_part=passed.append)
    assert set(counted.times.values()) == {1}
    assert passed == list(range(stream.parts + 1))


def test_a_block_that_does_not_fit_is_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = load(source).parameters * 4
    assert streaming_note(load(source)) == ""
    monkeypatch.setattr(targets, "free_bytes", lambda _: size - 1)
    with pytest.raises(Refused, match=r"needs about 0\.\d MB on cpu"):
        load(source)
    model = load(source, stream=True)
    assert model.prunable.stream is not None
    assert "is read from its files block by block" in streaming_note(model)
    monkeypatch.setattr(targets, "free_bytes", lambda _: size // 20)
    with pytest.raises(
        Refused, match=r"needs about \d\.\d MB for one block of its weights, 0\.0 MB are free"
    ):
        load(source, stream=True)


def test_what_needs_the_weights_in_memory_is_refused(source: str, tokens: Tensor) -> None:
    model = load(source, stream=True)
    with pytest.raises(Refused, match="writing texts needs a model in memory"):
        generate_side_by_side(model, tokens[:1, :4], [], Sampling(new_tokens=2))
    with pytest.raises(Refused, match="timing a model needs a model in memory"):
        measure_model(model, {})
    with pytest.raises(Refused, match="would read the files once for every block"):
        prune(model.prunable, tokens, Recipe(allocation="sensitivity"))


def test_streaming_that_cannot_be_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not apply to GGUF: its weights are unpacked when they are read"):
        load(str(tiny_gguf(tmp_path / "model.gguf")), stream=True)
    with pytest.raises(Refused, match="computes in float32"):
        load(source, dtype="bfloat16", stream=True)
    with pytest.raises(Refused, match="the machine's own memory: choose cpu"):
        refuse_unstreamable(targets.Target(torch.device("cuda"), torch.float32, None), gguf=False)


def test_weights_that_are_not_used_as_they_lie_are_refused(source: str, tmp_path: Path) -> None:
    file = Path(source) / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float()
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(Refused, match="its files hold BF16, F32, and what has to be converted"):
        load(source, stream=True)
    folder = tmp_path / "experts"
    build(*EXPERTS["qwen3-moe"]).to(torch.bfloat16).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    with pytest.raises(Refused, match=r"experts\.gate_up_proj is put together when the model is loaded"):
        load(str(folder), stream=True)


def _rewritten(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)
        stream.write(b"\1\1")


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _deleted(file: Path) -> None:
    file.unlink()


def _replaced(file: Path) -> None:
    other = file.with_name("other")
    shutil.copyfile(file, other)
    _rewritten(other)
    other.replace(file)


@pytest.mark.parametrize("change", [_rewritten, _cut])
def test_a_file_that_is_written_to_is_noticed(
    change: Callable[[Path], None], source: str, tokens: Tensor
) -> None:
    """Before its values are read: those of a file that was cut are no longer there."""
    model = load(source, stream=True)
    change(Path(source) / "model.safetensors")
    with torch.no_grad(), pytest.raises(Refused, match=r"model\.safetensors was changed while"):
        model.network(input_ids=tokens)


@pytest.mark.parametrize("change", [_deleted, _replaced])
def test_a_file_that_is_deleted_or_replaced_stays_in_use(
    change: Callable[[Path], None], source: str, tokens: Tensor
) -> None:
    plain, streamed = both(source)
    change(Path(source) / "model.safetensors")
    with torch.no_grad():
        wanted = plain.network(input_ids=tokens).logits
        assert torch.equal(streamed.network(input_ids=tokens).logits, wanted)
