"""One place makes model, windows and protocol, whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wanda_core import Refused, load
from wanda_core.experiments.experiment import Experiment, ExperimentSettings
from wanda_core.texts.sources import Text

SIZES = {"samples": 3, "length": 16, "eval_length": 32, "windows": 2}


def settings(folder: Path, calibration: object, **more: object) -> ExperimentSettings:
    return ExperimentSettings(**{"source": str(folder), "calibration": str(calibration), **SIZES, **more})


def test_windows_of_one_text_do_not_meet(llama_folder: Path, text_file: Path) -> None:
    own = Experiment.prepare(settings(llama_folder, text_file, evaluation=str(text_file)))
    text, decode = text_file.read_text(), own.model.tokenizer.decode  # a token for each byte
    assert decode(own.windows.flatten()) == text[:64]
    assert all(decode(window) in text[64:] for window in own.tokens)
    assert own.protocol["calibration_after"] == 64
    assert own.drawn == {"text": text_file.name, "samples": 3, "length": 16, "seed": 0, "after": 64}
    other = own.calibration(4, seed=1)
    assert other.shape == (4, 16)
    assert all(decode(window) in text[64:] for window in other)
    assert torch.equal(own.calibration(3), own.tokens)


def test_without_evaluation_the_whole_text_calibrates(llama_folder: Path, text_file: Path) -> None:
    own = Experiment.prepare(settings(llama_folder, text_file))
    assert own.windows is None
    assert own.drawn["after"] == 0
    assert "evaluation_sha256" not in own.protocol


def test_random_tokens_are_known_to_the_model_and_follow_the_seed(llama_folder: Path) -> None:
    first, again, other = (
        Experiment.prepare(settings(llama_folder, "random", seed=seed)).tokens for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= int(first.min()) <= int(first.max()) < 257


def test_whoever_keeps_models_and_texts_gives_its_own(llama_folder: Path) -> None:
    asked = []
    model = load(str(llama_folder))

    def read(name: str, role: str, characters: int) -> Text:
        asked.append((name, role))
        return Text("kept", "a" * 500, name)

    own = Experiment.prepare(
        settings(llama_folder, "mine", evaluation="theirs"), load=lambda _: model, read=read
    )
    assert own.model is model
    assert asked == [("theirs", "evaluation"), ("mine", "calibration")]
    assert model.tokenizer.decode(own.tokens.flatten()) == "a" * 48
    assert own.protocol["calibration_after"] == 0


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"samples": 0}, "samples must be"),
        ({"length": 1}, "length must be"),
        ({"seed": -1}, "seed must be"),
        ({"windows": 0}, "windows must be"),
        ({"eval_length": True}, "eval_length must be"),
    ],
)
def test_numbers_are_refused_before_anything_is_read(more: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        Experiment.prepare(settings(Path("nowhere"), "nothing.txt", **more))


def test_windows_longer_than_the_context_are_refused(llama_folder: Path, text_file: Path) -> None:
    asked = settings(llama_folder, text_file, evaluation=str(text_file), length=300, eval_length=400)
    with pytest.raises(Refused, match="at most 256 tokens at a time, not 400: lower length and eval_length"):
        Experiment.prepare(asked)
