"""Sources: what loads, and what is refused before any weight is read."""

from __future__ import annotations

import gc
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, BertModel, ViTConfig, ViTForImageClassification

from tests.support.models import byte_tokenizer, tiny
from wanda_core import Refused, load
from wanda_core.models import target as targets


@pytest.fixture
def copy(llama_folder: Path, tmp_path: Path) -> Path:
    """A model folder of one's own to damage."""
    return Path(shutil.copytree(llama_folder, tmp_path / "copy"))


def test_a_folder_loads_dense_and_in_float32(llama_folder: Path) -> None:
    model = load(str(llama_folder))
    original = tiny("llama").state_dict()
    assert all(torch.equal(tensor, original[name]) for name, tensor in model.network.state_dict().items())
    assert model.network.dtype == torch.float32
    assert not model.network.training
    assert model.context == 256
    assert model.tokenizer("ab")["input_ids"] == byte_tokenizer()("ab")["input_ids"]


def test_dtype_and_weights_change_the_fingerprint(llama_folder: Path, copy: Path) -> None:
    first = load(str(llama_folder))
    assert load(str(llama_folder)).fingerprint == first.fingerprint
    assert load(str(llama_folder), dtype="bfloat16").fingerprint != first.fingerprint
    assert load(str(llama_folder), dtype="bfloat16").network.dtype == torch.bfloat16
    # As out of an archive: another model of the same size and time.
    times = [(file.name, file.stat().st_mtime_ns) for file in llama_folder.iterdir()]
    tiny("llama", seed=1).save_pretrained(copy)
    for name, changed in times:
        os.utime(copy / name, ns=(changed, changed))
    assert load(str(copy)).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"device": "tpu"}, "device must be"),
        ({"device": "cuda:99"}, "cuda:99: this machine has"),
        ({"dtype": "int4"}, "dtype must be"),
        ({"revision": "main"}, "revision applies to a Hub id"),
    ],
)
def test_bad_options(llama_folder: Path, arguments: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        load(str(llama_folder), **arguments)


@pytest.mark.parametrize("name", ["no such thing!", "../up/up", "a--b/c", "a/b.git", "a..b/c", ""])
def test_what_is_neither_a_folder_nor_a_hub_id(name: str) -> None:
    with pytest.raises(Refused, match=r"no Hub id|not a Hub id|no config.json"):
        load(name)


def test_a_file_that_is_no_model(text_file: Path) -> None:
    with pytest.raises(Refused, match="is neither a folder nor"):
        load(str(text_file))


def _edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _drop_a_weight(folder: Path) -> None:
    network = tiny("llama")
    weights = network.state_dict()
    del weights["model.layers.1.mlp.up_proj.weight"]
    network.save_pretrained(folder, state_dict=weights)


def _other_shape(folder: Path) -> None:
    _edit(folder / "config.json", intermediate_size=64)


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _remote_code(folder: Path) -> None:
    _edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig"})
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")


def _remote_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    _edit(
        folder / "tokenizer_config.json",
        tokenizer_class="Evil",
        auto_map={"AutoTokenizer": ["evil.Evil", None]},
    )
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")


def _no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def _missing_shard(folder: Path) -> None:
    tiny("llama").save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


def _encoder(folder: Path, architectures: bool = True) -> None:
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    (BertModel(config) if architectures else BertLMHeadModel(config)).save_pretrained(folder)
    if not architectures:
        _edit(folder / "config.json", architectures=None)


def _image_model(folder: Path) -> None:
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ViTForImageClassification(config).save_pretrained(folder)


def _index(folder: Path, named: str) -> None:
    tiny("llama").save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.norm.weight"] = named
    index.write_text(json.dumps(content))


DAMAGES = {
    "an index that leaves its folder": (lambda f: _index(f, "../../x.safetensors"), "is not safe"),
    "an index with a pickle": (lambda f: _index(f, "pytorch_model.bin"), "is not safe"),
    "an index of numbers": (lambda f: _index(f, 7), "is damaged"),
    "a kernel of the Hub": (
        lambda f: _edit(f / "config.json", attn_implementation="owner/kernel"),
        "code of its own",
    ),
    "a hidden kernel of the Hub": (
        lambda f: _edit(f / "config.json", text_config={"_attn_implementation": {"": "owner/kernel"}}),
        "code of its own",
    ),
    "too many layers": (lambda f: _edit(f / "config.json", num_hidden_layers=8000), "8,000 layers, at most"),
    "more layers than weights": (
        lambda f: _edit(f / "config.json", num_hidden_layers=300),
        "lacks weights, model.layers.10.input_layernorm.weight among them",
    ),
    "wider than its weights": (
        lambda f: _edit(f / "config.json", vocab_size=10**12),
        "lacks weights|cannot be loaded",
    ),
    "quantised": (
        lambda f: _edit(f / "config.json", quantization_config={"quant_method": "fp8"}),
        "is quantised",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "pickle only": (_pickle_only, "pickle only"),
    "gguf only": (lambda f: (f / "model.safetensors").rename(f / "m.gguf"), r"holds GGUF files.* m\.gguf"),
    "truncated weights": (lambda f: _halve(f / "model.safetensors"), "model.safetensors is damaged"),
    "weights of noise": (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 999), "is damaged"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "is damaged"),
    "missing weight": (_drop_a_weight, r"lacks weights, model.layers.1.mlp.up_proj.weight"),
    "missing shard": (_missing_shard, r"cannot be loaded|lacks weights"),
    "other shapes": (_other_shape, "cannot be loaded|lacks weights"),
    "damaged config": (lambda f: _halve(f / "config.json"), "configuration of .* cannot be loaded"),
    "config of noise": (
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe"),
        "configuration of .* cannot be",
    ),
    "unknown kind": (lambda f: _edit(f / "config.json", model_type="novel"), "configuration of .* cannot be"),
    "absurd config": (lambda f: _edit(f / "config.json", num_attention_heads=0), "cannot be loaded"),
    "damaged tokenizer": (lambda f: _halve(f / "tokenizer.json"), "the tokenizer of .* cannot be loaded"),
    "no tokenizer": (_no_tokenizer, "the tokenizer of .* cannot be loaded"),
    "remote code": (_remote_code, "code of its own"),
    "remote tokenizer": (_remote_tokenizer, "code of its own|the tokenizer of .* cannot be loaded"),
    "encoder": (_encoder, "BertModel, not a causal language model"),
    "unnamed encoder": (lambda f: _encoder(f, architectures=False), "bert, not a causal language model"),
    "image model": (_image_model, "ViTForImageClassification, not a causal language model"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_folder_is_refused_in_silence(
    damage: str, copy: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    change, reason = DAMAGES[damage]
    change(copy)
    # What tests before this one left unclosed is warned of when it is collected: not in the load.
    gc.collect()
    recwarn.clear()
    capfd.readouterr()
    with pytest.raises(Refused, match=reason):
        load(str(copy))
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []
    assert not (copy / "ran").exists()


def test_what_does_not_fit_is_refused_with_figures(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = load(str(llama_folder)).parameters * 4
    monkeypatch.setattr(targets, "free_bytes", lambda _: size - 1)
    with pytest.raises(Refused, match=r"needs about 0\.\d MB on cpu, 0\.\d MB are free"):
        load(str(llama_folder))
    assert load(str(llama_folder), dtype="bfloat16").network.dtype == torch.bfloat16
    with pytest.raises(Refused, match=r"has about .* at most 0\.\d MB are allowed here"):
        load(str(llama_folder), dtype="bfloat16", most_bytes=size // 2 - 1)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 60, b"no GGUF at all"])
def test_a_damaged_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(Refused, match=r"damaged"):
        load(str(file))


def test_a_missing_gguf_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such file"):
        load(str(tmp_path / "model.gguf"))


def test_room_is_asked_for_before_the_free_memory_is_looked_at(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = load(str(llama_folder)).parameters * 4
    free = [0]
    monkeypatch.setattr(targets, "free_bytes", lambda _: free[0])

    def make_room(needed: int) -> None:
        assert size <= needed < size + 1000  # with what is computed from the configuration
        free[0] = needed

    load(str(llama_folder), make_room=make_room)


def test_a_panic_in_rust_is_an_error(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """As pyo3's, which is no Exception."""

    def panic(*_: object, **__: object) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr("wanda_core.models.load.AutoTokenizer.from_pretrained", panic)
    with pytest.raises(Refused, match=r"the tokenizer of .* cannot be loaded.*index out of bounds"):
        load(str(llama_folder))


def test_a_tokenizer_that_multiplies_a_text_is_refused(copy: Path) -> None:
    content = json.loads((copy / "tokenizer.json").read_text())
    step = {"type": "Replace", "pattern": {"String": "q"}, "content": "q" * 20}
    content["normalizer"] = {"type": "Sequence", "normalizers": [step] * 12}
    (copy / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(Refused, match="times as long"):
        load(str(copy))


def test_hostile_settings_for_writing_are_dropped(copy: Path) -> None:
    hostile = {
        "eos_token_id": [256],
        "repetition_penalty": 1.2,
        "top_k": "many",
        "cache_implementation": "static",
        "prompt_lookup_num_tokens": 10**9,
        "num_beams": 10**6,
    }
    (copy / "generation_config.json").write_text(json.dumps(hostile))
    kept = load(str(copy)).network.generation_config.to_diff_dict()
    kept.pop("transformers_version")
    assert kept == {"eos_token_id": [256], "repetition_penalty": 1.2}
