"""Folders written as GGUF: shape and tokenizer as llama.cpp reads them; what is not known is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.support.gguf_families import CASES, family_folder
from wanda_core import Recipe, Refused, load
from wanda_core.export.gguf_file import check_writable, save_gguf, written_notes
from wanda_core.pruning.prune_model import prune

TEXTS = ["The quick brown fox, born in 1984, doesn't jump over 12345 lazy dogs.\n\n  Indeed: café!"] * 20
HEADS = {"q_proj": 4, "k_proj": 2}


@pytest.mark.parametrize("case", list(CASES))
def test_a_folder_is_written_and_loads_as_the_same_model(case: str, tokens: Tensor, tmp_path: Path) -> None:
    model = load(str(family_folder(tmp_path / case, case, TEXTS)))
    pruning = prune(model.prunable, tokens, Recipe(pattern="2:4"))
    out = tmp_path / "out.gguf"
    save_gguf(model, pruning, {}, out)
    reader = GGUFReader(out)
    said = {name: field.contents() for name, field in reader.fields.items()}
    family = model.network.config.model_type
    assert said["general.architecture"] == family
    assert said["tokenizer.ggml.pre"] == CASES[case][1]
    assert said["tokenizer.ggml.add_bos_token"] == (case == "llama-3")
    assert said["tokenizer.ggml.eos_token_id"] == 1
    assert said[f"{family}.rope.freq_base"] == 50_000
    assert said[f"{family}.attention.head_count_kv"] == 2
    vocabulary = model.tokenizer.get_vocab()
    assert [said["tokenizer.ggml.tokens"][place] for place in vocabulary.values()] == list(vocabulary)
    kinds = said["tokenizer.ggml.token_type"]
    assert kinds[:4] == [3, 3, 3, 1]  # three special tokens, then plain ones
    assert set(kinds[len(vocabulary) :]) == {5}  # rows of the embedding that no token has
    assert len(kinds) == len(model.network.get_input_embeddings().weight)
    content = json.loads(model.tokenizer.backend_tokenizer.to_str())["model"]
    assert said["tokenizer.ggml.merges"] == [" ".join(pair) for pair in content["merges"]]
    kept = {tensor.name: tensor for tensor in reader.tensors}
    assert ("output.weight" in kept) == (family != "qwen2")  # which ties its head here
    assert kept["token_embd.weight"].tensor_type.name == "F16"
    assert kept["blk.0.attn_norm.weight"].tensor_type.name == "F32"
    for layer in model.prunable.layers:
        if layer.block == 1 and (heads := HEADS.get(layer.kind.rpartition(".")[2])):
            wanted = pruning.weight(layer).half().float().numpy()
            if family == "llama":  # as its converter orders them: the two halves of a head's rows in turns
                halves = wanted.reshape(heads, 2, len(wanted) // heads // 2, -1)
                wanted = halves.swapaxes(1, 2).reshape(wanted.shape)
            tensor = kept[f"blk.1.attn_{layer.kind.rpartition('.')[2][0]}.weight"]
            assert np.array_equal(dequantize(tensor.data, tensor.tensor_type), wanted)
    network = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="out.gguf", dtype=torch.float32)
    with torch.no_grad(), pruning.applied(model.prunable):
        wanted, found = model.network(tokens).logits, network(tokens).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-3 * float(wanted.abs().max()))
    assert written_notes(model, 16)[0].endswith("embeddings and output head are F16, norms and biases F32.")


def test_a_recovery_and_rounding_are_in_the_file(tokens: Tensor, tmp_path: Path) -> None:
    model = load(str(family_folder(tmp_path / "model", "qwen2", TEXTS)), dtype="bfloat16")
    pruning = prune(model.prunable, tokens, Recipe(pattern="2:4", recovery="blocks"))
    norm = model.prunable.norms[0]
    assert norm.name in pruning.changed
    save_gguf(model, pruning.in_bits(4), {}, tmp_path / "out.gguf")
    kept = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "out.gguf").tensors}
    assert np.array_equal(kept["blk.0.attn_norm.weight"].data, pruning.changed.get(norm.name).float().numpy())
    assert kept["blk.0.attn_q.weight"].tensor_type.name == "Q4_0"
    assert kept["blk.0.attn_q.bias"].tensor_type.name == "F32"


def _changed(folder: Path, name: str, **settings: Any) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | settings))


@pytest.mark.parametrize(
    ("file", "settings", "why"),
    [
        ("config.json", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "positions"),
        ("config.json", {"hidden_act": "gelu"}, "its activation is gelu"),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "changes texts before it reads them"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "cuts texts in a way that is not known"),
        (
            "tokenizer.json",
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True, "trim_offsets": True}},
            "cuts texts in a way that is not known",
        ),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(file: str, settings: dict[str, Any], why: str, tmp_path: Path) -> None:
    folder = family_folder(tmp_path / "mine", "smollm2", TEXTS)
    check_writable(load(str(folder)), Recipe())
    _changed(folder, file, **settings)
    with pytest.raises(
        Refused, match=rf"mine is not written as GGUF here \(.*{why}.*convert_hf_to_gguf\.py DIR"
    ):
        check_writable(load(str(folder)), Recipe())
