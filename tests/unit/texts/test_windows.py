"""From a text to windows of tokens."""

from __future__ import annotations

import logging
import os
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.support.texts import refusal
from wanda_core.texts.sources import read_text
from wanda_core.texts.windows import calibration_windows, encode, evaluation_windows

WORDS = ["[UNK]", "[BOS]", "the", "cat", "sat", "on", "mat"]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, [BOS] in front, a context of 4, and a truncation setting left in the file."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", 1)])
    backend.enable_truncation(max_length=3)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", model_max_length=4)


def test_the_whole_text_is_encoded_once_without_a_warning(tokenizer):
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    try:
        ids = encode("the cat sat on the mat\n\nthe dog sat", tokenizer)
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert ids.dtype == torch.int64
    assert ids.tolist() == [1, 2, 3, 4, 5, 2, 6, 2, 0, 4]
    assert lines == []


def test_text_without_a_token_is_refused_where_windows_are_cut(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    ids = encode("", tokenizer)
    assert (ids.shape, ids.dtype) == ((0,), torch.int64)
    assert "is empty" in refusal(evaluation_windows, ids, None, 2)
    assert "is empty" in refusal(calibration_windows, ids, 1, 2, 0)


def test_evaluation_takes_the_first_windows_in_order():
    ids = torch.arange(100, 111)
    assert evaluation_windows(ids, 2, 4).tolist() == [[100, 101, 102, 103], [104, 105, 106, 107]]
    assert evaluation_windows(ids, None, 3).tolist() == [[100, 101, 102], [103, 104, 105], [106, 107, 108]]
    assert evaluation_windows(ids, None, 11).tolist() == [list(range(100, 111))]


@settings(deadline=None)  # the time is the machine's, not the code's
@given(st.data())
def test_calibration_windows_never_overlap_and_stay_behind_what_is_evaluated(data):
    samples = data.draw(st.integers(1, 12), "samples")
    length = data.draw(st.integers(2, 9), "length")
    after = data.draw(st.integers(0, 40), "after")
    slack = data.draw(st.integers(0, 30), "slack")
    seed = data.draw(st.integers(0, 2**63 - 1), "seed")
    tokens = after + samples * length + slack
    ids = torch.arange(tokens) + 1000  # a token says where it stands
    windows = calibration_windows(ids, samples, length, seed, after)
    assert (tuple(windows.shape), windows.dtype) == ((samples, length), torch.int64)
    used: set[int] = set()
    for window in windows.tolist():
        start = window[0] - 1000
        assert after <= start <= tokens - length
        assert window == ids[start : start + length].tolist()
        assert used.isdisjoint(window)
        used.update(window)
    assert torch.equal(windows, calibration_windows(ids, samples, length, seed, after))


def test_every_choice_of_places_is_equally_likely():
    # All ways to lay 2 windows of 3 tokens on tokens 1 to 9, by trying: 10.
    places = [pair for pair in combinations(range(1, 8), 2) if pair[1] - pair[0] >= 3]
    draws = 3000
    seen: Counter[tuple[int, ...]] = Counter()
    first: Counter[bool] = Counter()
    for seed in range(draws):
        starts = calibration_windows(torch.arange(10), 2, 3, seed, after=1)[:, 0].tolist()
        seen[tuple(sorted(starts))] += 1
        first[starts[0] < starts[1]] += 1
    assert sorted(seen) == places
    expected = draws / len(places)
    chi_square = sum((seen[place] - expected) ** 2 / expected for place in places)
    # Mean: places - 1, deviation: sqrt(2 (places - 1)). Sorted independent draws of the gaps: about 290.
    assert chi_square < len(places) - 1 + 5 * (2 * (len(places) - 1)) ** 0.5
    assert 0.45 < first[True] / draws < 0.55  # the order of the windows is random too


def test_seeds_differ():
    ids = torch.arange(10_000)
    assert not torch.equal(calibration_windows(ids, 8, 16, 0), calibration_windows(ids, 8, 16, 1))


def test_too_short_a_text_says_what_there_is_and_what_is_needed():
    ids = torch.arange(3100)
    assert refusal(calibration_windows, ids, 16, 512, 0) == (
        "the text has 3,100 tokens, 16 windows of 512 need 8,192: "
        "give a longer text, or lower samples or length"
    )
    assert refusal(calibration_windows, ids, 2, 1024, 0, 1053) == (
        "the text has 3,100 tokens, the first 1,053 of them for evaluation, 2 windows of 1,024 need 2,048: "
        "give a longer text, or lower samples or length"
    )
    assert calibration_windows(ids, 2, 1024, 0, 1052).shape == (2, 1024)
    assert refusal(calibration_windows, ids, 1, 2, 0, 4000).startswith(
        "the text has 3,100 tokens, the first 4,000"
    )
    for windows in (1, None):
        assert refusal(evaluation_windows, ids, windows, 4096) == (
            "the text has 3,100 tokens, 1 window of 4,096 needs 4,096: "
            "give a longer text, or lower windows or eval_length"
        )


@pytest.mark.parametrize("bad", [0, -1, 1.0, 2.5, True, "8", None])
def test_what_is_no_whole_number_is_refused(bad):
    ids = torch.arange(100)
    assert "samples must" in refusal(calibration_windows, ids, bad, 4, 0)
    assert "length must" in refusal(calibration_windows, ids, 2, bad, 0)
    assert "eval_length must" in refusal(evaluation_windows, ids, 2, bad)
    if bad is not None:
        assert "windows must" in refusal(evaluation_windows, ids, bad, 4)
        assert "characters" in refusal(read_text, "pydoc", "calibration", bad)
    if bad != 0 or isinstance(bad, float):
        assert "seed must" in refusal(calibration_windows, ids, 2, 4, bad)
        assert "after" in refusal(calibration_windows, ids, 2, 4, 0, bad)


def test_a_window_has_at_least_two_tokens():
    assert "length must" in refusal(calibration_windows, torch.arange(9), 2, 1, 0)
    assert "eval_length must" in refusal(evaluation_windows, torch.arange(9), 2, 1)


def test_wikitext_is_divided_between_evaluation_and_calibration(tokenizer):
    folder = os.environ.get("WANDA_LAB_DATA")
    path = Path(folder or "", "wikitext2-test.txt")
    if not folder or not path.exists():
        pytest.skip("WANDA_LAB_DATA names no folder with wikitext2-test.txt")
    text = read_text(str(path), "evaluation")
    assert text.text == path.read_text(encoding="utf-8")  # line ends made "\n", as in the dataset
    assert text.text.startswith("\n\n = Robert Boulter = \n\n\n\n\n Robert Boulter is an English film")
    ids = torch.arange(len(encode(text.text, tokenizer)))  # places for tokens
    assert len(ids) > 200_000
    evaluated = evaluation_windows(ids, 16, 2048)
    calibrated = calibration_windows(ids, 64, 2048, seed=0, after=evaluated.numel())
    assert evaluated.max() < calibrated.min()
    assert calibrated.unique().numel() == 64 * 2048
