"""Files from anywhere: models, results and texts."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components import uploads
from components.cost.files import read_saved
from tests.attack.model_folders import HARMLESS, HOSTILE, SECRET
from tests.support import gguf, memory
from wanda_core import Recipe, Refused, load, prune
from wanda_core.assets import ASSETS
from wanda_core.evaluation.perplexity import perplexity
from wanda_core.experiments.rows import load_json
from wanda_core.export.folder import save_pruned
from wanda_core.machine import give_back
from wanda_core.texts import chat, windows
from wanda_core.texts.chat import encode_chat
from wanda_core.texts.sources import Text, read_text
from wanda_core.texts.windows import encode

pytestmark = pytest.mark.long

MOST = 400e6
"""Bytes that this process may take in addition while it looks at a hostile file; an ordinary one takes 50 MB."""

TEXT = (
    "Long ago a fox met a crow; "
    + "qqqqqqqqqq" * 60
    + " and they talked of a zebra. " * 20
    + "a" * 60
    + " m."
)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is tried in a process of its own is given up sooner than elsewhere."""
    monkeypatch.setattr(chat, "SECONDS", 2)
    monkeypatch.setattr(windows, "SECONDS", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module", autouse=True)
def warm(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What ordinary work imports and keeps is there before memory is looked at."""
    folder = tmp_path_factory.mktemp("warm")
    use(llama_folder, folder / "out")
    for name, make in {"a.csv": _text("text\nwords\n"), "a.parquet": _parquet({"text": ["words"]})}.items():
        make(folder / name)
        read_text(str(folder / name), "calibration")
    use(gguf.tiny_gguf(folder / "model.gguf"), folder / "other")


@pytest.fixture(autouse=True)
def in_bounds(capfd: pytest.CaptureFixture[str]) -> Any:
    """Memory, during a test and after it, and that nothing is printed: what goes wrong is said in the refusal."""
    memory.forget_peak()
    before = memory.resident()
    yield
    assert memory.resident("VmHWM") < before + MOST
    memory.forget_peak()
    give_back()  # as after every job
    assert memory.resident() < 1.1 * before + 30e6
    assert capfd.readouterr() == ("", "")


def use(source: Path, out: Path) -> None:
    """All that is done with a model."""
    model = load(str(source))
    tokens = encode(TEXT * 4, model.tokenizer)[:64].view(2, 32)
    if model.tokenizer.chat_template:
        encode_chat(Text("text", TEXT, "text"), model.tokenizer)
    pruning = prune(model.prunable, tokens, Recipe(sparsity=0.5))
    with pruning.applied(model.prunable):
        perplexity(model.network, tokens)
    save_pruned(model, pruning, tokens, {"text": "text"}, out)


def refused(source: Path, folder: Path, reason: str) -> None:
    out = folder / "out"
    with pytest.raises(Refused, match=reason) as refusal:
        use(source, out)
    said = str(refusal.value)
    assert "\n" not in said
    assert len(said) < 700
    assert SECRET not in said
    assert not out.exists()
    assert not list(folder.rglob("*.partial"))
    assert not list(folder.rglob("ran"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_folder_is_refused(
    kind: str, llama_folder: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("hostile model folders")
    folder = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    change, reason = HOSTILE[kind]
    change(folder)
    refused(folder, tmp_path, reason)


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_beside_a_model_is_passed_over(
    kind: str, llama_folder: Path, tmp_path: Path, tried: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried("hostile model folders")
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    HARMLESS[kind](folder)
    use(folder, tmp_path / "out")
    assert "<img" not in (tmp_path / "out" / "README.md").read_text()
    assert not list(tmp_path.rglob("ran"))
    assert not list((tmp_path / "out").glob("*.py"))


def _cut(share: float) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        whole = gguf.tiny_gguf(file).read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])

    return make


def _patched(old: bytes, new: bytes) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        whole = gguf.tiny_gguf(file).read_bytes()
        assert whole.count(old) >= 1
        file.write_bytes(whole.replace(old, new, 1))

    return make


def _written(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content + bytes(200))


def _tiny(**settings: Any) -> Callable[[Path], object]:
    return lambda file: gguf.tiny_gguf(file, **settings)


SMALL_TENSOR = struct.pack("<I2Q", 2, gguf.WIDTH, gguf.WIDTH)
DAMAGED = "is damaged"
GGUF: dict[str, tuple[Callable[[Path], object], str]] = {
    **{f"cut at {share:.1%}": (_cut(share), DAMAGED) for share in (0, 0.0001, 0.001, 0.01, 0.05)},
    **{f"cut at {share:.1%}": (_cut(share), "cannot be loaded|damaged") for share in (0.3, 0.9, 0.9999)},
    "a list without end": (_written(gguf.header(gguf.listed(0, 2**60))), DAMAGED),
    "a list of words without end": (_written(gguf.header(gguf.listed(8, 2**60))), DAMAGED),
    "a list of a million empty words": (_written(gguf.header(gguf.listed(8, 9_999_999))), DAMAGED),
    "a list of lists": (_written(gguf.header(gguf.listed(9, 3))), "unknown kind 9"),
    "a word of exabytes": (_written(gguf.header(gguf.setting(8, gguf.string(b"x", 2**60)))), DAMAGED),
    "a name of exabytes": (_written(gguf.header(gguf.string(b"x", 2**63))), DAMAGED),
    "a kind that there is not": (_written(gguf.header(gguf.setting(77, b"1234"))), "unknown kind 77"),
    "settings without end": (_written(gguf.header(count=2**63)), DAMAGED),
    "tensors without end": (_written(gguf.header(tensors=2**62)), DAMAGED),
    "a tensor of a billion dimensions": (
        _written(gguf.header(tensors=1) + gguf.string(b"a") + struct.pack("<I", 10**9)), "dimensions",
    ),
    "a tensor of exabytes": (
        _patched(SMALL_TENSOR, struct.pack("<I2Q", 2, 2**32, 2**30)), "needs about|damaged",
    ),
    "a tensor larger than its data": (
        _patched(SMALL_TENSOR, struct.pack("<I2Q", 2, 4096, 4096)), "cannot be loaded|damaged",
    ),
    "version 99": (_written(gguf.header(version=99)), "version 2 or 3"),
    "another kind of file": (_written(b"PK\x03\x04" + b"x" * 99), "not a GGUF file"),
    "a thousand layers in two": (_tiny(block_count=1000), "1,000 layers, at most"),
    "a billion layers": (_tiny(block_count=10**9), "layers, at most"),
    "more layers than weights": (_tiny(block_count=300), "lacks weights"),
    "wider than its weights": (_tiny(embedding_length=2**20), "lacks weights|cannot be loaded"),
    "a vocabulary of billions": (_tiny(vocab_size=2**31), "lacks weights|cannot be loaded"),
    "a middle of billions": (_tiny(feed_forward_length=2**31), "lacks weights|cannot be loaded"),
    "NaN weights": (_tiny(times=np.float32(math.nan)), "NaN"),
    "infinite weights": (_tiny(times=np.float32(math.inf)), "NaN|infinit"),
    "a template that loops": (
        _tiny(chat_template="{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        "chat template fails",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GGUF)
def test_a_hostile_gguf_file_is_refused(kind: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    tried("hostile GGUF files")
    make, reason = GGUF[kind]
    make(tmp_path / "model.gguf")
    refused(tmp_path / "model.gguf", tmp_path, reason)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "${7*7}", "{{constructor}}", "=cmd()", "\n---\n"]
)
def test_what_a_gguf_file_calls_itself_is_no_markup(
    name: str, tmp_path: Path, tried: Callable[..., None]
) -> None:
    tried("hostile GGUF files")
    use(gguf.tiny_gguf(tmp_path / "model.gguf", name=name, license=name), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert name.strip() not in card.replace("---\n", "", 2).split("# model.gguf")[0]


def test_a_backtracking_tokenizer_of_any_letter_ends(
    llama_folder: Path, tmp_path: Path, tried: Callable[..., None]
) -> None:
    """Not tried at loading, where nobody knows the letter: each text goes through a process that is ended."""
    tried("hostile texts for a tokenizer")
    folder = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    content = json.loads((folder / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "w*w*w*v"}, "behavior": "Isolated", "invert": False
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    model = load(str(folder))
    with pytest.raises(Refused, match="cannot take this text"):
        encode(("w" * 150 + " v") * 3000, model.tokenizer)


def test_expressions_give_the_same_tokens_in_the_other_process(llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama_folder, tmp_path / "model"))
    content = json.loads((folder / "tokenizer.json").read_text())
    pieces = {
        "type": "Split",
        "pattern": {"Regex": r"\p{L}+|\p{N}{1,3}|\s+"},
        "behavior": "Isolated",
        "invert": False,
    }
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [pieces, content["pre_tokenizer"]]}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = load(str(folder)).tokenizer
    assert windows.has_expressions(tokenizer)
    text = TEXT + " café 12345 \U0001f98a"
    expected = tokenizer(text, return_offsets_mapping=True)
    assert encode(text, tokenizer).tolist() == expected["input_ids"]
    assert windows.ends(text, tokenizer) == [end for _, end in expected["offset_mapping"]]


def _content() -> Any:
    held = json.loads((ASSETS / "recorded" / "cost-pocket.json").read_text(encoding="utf-8"))
    held.pop("layers")
    return held


def _row(**values: object) -> Callable[[Any], object]:
    return lambda content: content["rows"][1].update(values)


def _protocol(**values: object) -> Callable[[Any], object]:
    return lambda content: content["protocol"].update(values)


SAVED: dict[str, Callable[[Any], object] | str] = {
    "deep": "[" * 100_000,
    "a deep row": '{"schema": 2, "protocol": {}, "rows": ' + '[{"a":' * 20_000,
    "long": " " * 2_000_001,
    "empty": "",
    "no JSON": "method,perplexity\nwanda,3",
    "half": '{"schema": 2, "protocol": {}, "rows": [',
    "a number": "7",
    "more digits than can be": '{"schema": ' + "9" * 5000 + "}",
    "a perplexity of zero": _row(perplexity=0),
    "a perplexity of words": _row(perplexity="12"),
    "a perplexity that is a list": _row(perplexity=[1]),
    "an integer of 300 digits": _row(perplexity=10**300),
    "NaN": _row(perplexity=math.nan),
    "infinite": _row(perplexity=math.inf),
    "a sparsity that is a list": _row(sparsity=[0.5]),
    "a sparsity of objects": _row(sparsity={"a": 1}),
    "a seed that is true": _row(seed=True),
    "a method of markup": _row(method="<img src=x onerror=alert(1)>"),
    "a method of a formula": _row(method="=cmd()"),
    "half a character in a method": _row(method="\ud83e"),
    "half a character in an error": _row(error="\ud83e"),
    "an error that is an object": _row(error={"a": "b"}),
    "losses of words": _row(window_losses=["1"]),
    "losses of lists": _row(window_losses=[[1]]),
    "infinite losses": _row(window_losses=[math.inf]),
    "a column too many": _row(extra=1),
    "a text that is a number": _row(calibration=7),
    "no protocol": lambda content: content.pop("protocol"),
    "a protocol that is a list": lambda content: content.update(protocol=[1]),
    "a protocol of lists": _protocol(threads=[1]),
    "a protocol of 300 digits": _protocol(samples=10**300),
    "a deep protocol": _protocol(device={"a": {"b": {}}}),
    "rows that are words": lambda content: content.update(rows=["wanda"]),
    "no rows": lambda content: content.update(rows=[]),
    "too many rows": lambda content: content.update(rows=[{}] * 100_000),
    "a schema of the future": lambda content: content.update(schema=99),
    "a schema that is true": lambda content: content.update(schema=True),
}


@pytest.mark.parametrize("kind", SAVED)
def test_hostile_results_are_refused(kind: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    tried("hostile results")
    damage, file = SAVED[kind], tmp_path / "saved.json"
    if isinstance(damage, str):
        file.write_text(damage, encoding="utf-8")
    else:
        content = _content()
        damage(content)
        file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(Refused, match="no saved measurement"):
        read_saved(file)


WORSE = {name: damage for name, damage in SAVED.items() if any(
    word in name for word in ("deep", "words", "list", "object", "NaN", "infinite", "digits", "true", "schema")
) and "protocol of" not in name and name != "a deep protocol"}  # fmt: skip


@pytest.mark.parametrize("kind", WORSE)
def test_hostile_results_are_not_resumed(kind: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    """What `compare --resume` reads: values of other kinds would end it in the middle."""
    tried("hostile results")
    damage, file = WORSE[kind], tmp_path / "rows.json"
    content = damage
    if not isinstance(damage, str):
        held = _content()
        damage(held)
        content = json.dumps(held)
    file.write_text(content, encoding="utf-8")
    with pytest.raises(Refused, match=r"does not hold the results|its schema is"):
        load_json(file)


def _parquet(columns: dict[str, Any]) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        import pandas as pd

        pd.DataFrame(columns).to_parquet(file)

    return make


def _text(content: bytes | str) -> Callable[[Path], object]:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return lambda file: file.write_bytes(data)


UPLOADS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "nothing": ("a.txt", _text("")),
    "blanks": ("a.txt", _text(" \n" * 1000)),
    "NUL": ("a.txt", _text("a\0b")),
    "not UTF-8": ("a.txt", _text(b"\xff\xfe\x80")),
    "half a character": ("a.txt", _text("fox \ud83e")),
    "larger than allowed": ("a.txt", _text(b"x" * 40_000_000)),
    "a program": ("a.md", _text(b"\x7fELF" + bytes(100))),
    "JSON lines of nothing": ("a.jsonl", _text("")),
    "deep JSON lines": ("a.jsonl", _text('{"text": ' + "[" * 50_000)),
    "JSON lines of numbers": ("a.jsonl", _text('{"text": 7}\n')),
    "JSON lines of other columns": ("a.jsonl", _text('{"a": "x", "b": "y"}\n')),
    "JSON lines with half a character": ("a.jsonl", _text('{"text": "fox \\ud83e"}\n')),
    "JSON lines cut": ("a.jsonl", _text('{"text": "a"}\n{"text": "b')),
    "JSON lines of lists": ("a.jsonl", _text("[1, 2]\n")),
    "conversations of numbers": ("a.jsonl", _text('{"messages": [{"role": 1, "content": 2}]}\n')),
    "conversations of words": ("a.jsonl", _text('{"messages": ["hello"]}\n')),
    "a table without text": ("a.csv", _text("a,b\n1,2\n")),
    "a table of quotes": ("a.csv", _text('text\n"' + 'a""' * 100)),
    "a table of noise": ("a.csv", _text(bytes(range(256)) * 20)),
    "parquet of noise": ("a.parquet", _text(b"PAR1" + bytes(range(256)) + b"PAR1")),
    "parquet whose end lies": ("a.parquet", _text(b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1")),
    "parquet of nothing": ("a.parquet", _text(b"")),
    "parquet of numbers": ("a.parquet", _parquet({"text": [1, 2, 3]})),
    "parquet of other columns": ("a.parquet", _parquet({"a": ["x"], "b": ["y"]})),
    "another kind": ("a.pkl", _text(b"cos\nsystem\n.")),
    "no ending": ("a", _text("words")),
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_hostile_uploads_are_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[..., None]
) -> None:
    tried("hostile uploads")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    name, make = UPLOADS[kind]
    file = tmp_path / ("0f" * 32) / name
    file.parent.mkdir()
    make(file)
    with pytest.raises(Refused) as refusal:
        uploads.read_upload(str(file))
    said = str(refusal.value)
    assert "\n" not in said
    assert str(tmp_path) not in said


def test_parquet_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[..., None]
) -> None:
    tried("hostile uploads")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(uploads, "LIMITS", replace(uploads.LIMITS, request_bytes=4_000_000))  # as on a Space
    file = tmp_path / ("0f" * 32) / "a.parquet"
    file.parent.mkdir()
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = "x" * 1_000_000
    with pq.ParquetWriter(file, pa.schema([("text", pa.string())]), compression="zstd") as writer:
        for _ in range(100):
            writer.write_table(pa.table({"text": [row] * 10}))
    assert file.stat().st_size < 1_000_000
    with pytest.raises(Refused, match=r"more than|larger"):
        uploads.read_upload(str(file))


def test_an_ordinary_model_is_pruned_after_all_that(llama_folder: Path, tmp_path: Path) -> None:
    use(llama_folder, tmp_path / "out")
    assert torch.load  # never called: the weights of the export are safetensors
    assert (tmp_path / "out" / "model.safetensors").is_file()
