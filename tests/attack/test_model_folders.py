"""Model folders from anywhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.attack.model_folders import HARMLESS, HOSTILE
from tests.attack.model_use import TEXT, refused, use
from wanda_core import Refused, load
from wanda_core.texts import windows
from wanda_core.texts.windows import encode

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("warm", "soon", "in_bounds")]


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


def test_an_ordinary_model_is_pruned_after_all_that(llama_folder: Path, tmp_path: Path) -> None:
    use(llama_folder, tmp_path / "out")
    assert torch.load  # never called: the weights of the export are safetensors
    assert (tmp_path / "out" / "model.safetensors").is_file()
