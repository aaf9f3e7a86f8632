"""What is a Hub id, against the Hub's own library."""

from __future__ import annotations

import pytest
from huggingface_hub.utils import HFValidationError, validate_repo_id

from wanda_core.models.hub_id import is_hub_id

IDS = [
    "a/b",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "Qwen/Qwen2.5-0.5B",
    "a_b/c_d",
    "EleutherAI/pythia-70m",
    "gpt2",
]
NONE = [
    "",
    "/",
    "a/",
    "/b",
    "a/b/c",
    "../x",
    "a/..",
    "a..b/c",
    "a--b/c",
    "a/b.git",
    "-a/b",
    "a/b-",
    "a/.b",
    "a b/c",
    "a/b\n",
    "é/b",
]


@pytest.mark.parametrize("text", IDS)
def test_ids(text: str) -> None:
    validate_repo_id(text)
    assert is_hub_id(text, owner=False)
    assert is_hub_id(text) == ("/" in text)


@pytest.mark.parametrize("text", NONE)
def test_what_is_none(text: str) -> None:
    assert not is_hub_id(text, owner=False)


def test_what_the_hub_refuses_is_none() -> None:
    for text in NONE:
        try:
            validate_repo_id(text)
        except HFValidationError:
            assert not is_hub_id(text, owner=False), text
