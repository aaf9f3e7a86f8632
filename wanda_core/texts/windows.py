"""Token windows: what calibration and evaluation run the model on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from wanda_core.argument_checks import check_whole
from wanda_core.bounded_process import in_child
from wanda_core.errors import Refused
from wanda_core.rust_panics import panics_as_errors

SECONDS = 20
"""That a tokenizer may take for a short text."""

MOST_BYTES = 3 * 2**29
"""Memory that it may take, for a short text; the largest published ones take a third of it."""

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def encode(text: str, tokenizer: PreTrainedTokenizerBase, *, special: bool = True) -> Tensor:
    """The whole text as tokens, encoded once: int64, shape (tokens,).

    With the tokenizer's special tokens, as in the papers: a model's first token stands in the first window
    alone. Never truncated, whatever the tokenizer's own settings are.

    Args:
        special: with the tokens that the tokenizer itself puts around a text; a chat template has put its own.

    Raises:
        Refused: the tokenizer cannot take the text.
    """
    return torch.tensor(_encoded(text, tokenizer, special)["input_ids"], dtype=torch.int64)


def ends(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """For each token of the text, as `encode` gives them, the character that it ends before; of fast tokenizers alone.

    Raises:
        Refused: the tokenizer cannot take the text.
    """
    return [end for _, end in _encoded(text, tokenizer, True, return_offsets_mapping=True)["offset_mapping"]]


def _encoded(text: str, tokenizer: PreTrainedTokenizerBase, special: bool, **more: bool) -> dict[str, Any]:
    # verbose=False: the text is meant to be longer than the model's context, so that a warning would mislead.
    how = {"truncation": False, "padding": False, "return_attention_mask": False, "verbose": False}
    try:
        if has_expressions(tokenizer):
            return run_tokenizer(text, tokenizer.backend_tokenizer.to_str(), special)
        with panics_as_errors():
            return tokenizer(text, add_special_tokens=special, **how, **more)
    except Exception as error:  # a tokenizer came with the model, and a library in Rust may give up
        raise Refused(
            f"the model's tokenizer cannot take this text: {' '.join(str(error).split())[:200]}"
        ) from error


def has_expressions(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it looks for regular expressions of its own: one that backtracks may take hours for a short text, which
    no other thread can end."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = (getattr(backend, "normalizer", None), getattr(backend, "pre_tokenizer", None))
    return any(b'"Regex"' in part.__getstate__() for part in parts if part is not None)


def run_tokenizer(text: str, tokenizer: str, special: bool = True) -> dict[str, Any]:
    """`input_ids` and `offset_mapping` of the text, by a process of its own.

    Args:
        tokenizer: as JSON.

    Raises:
        Failed: it takes too long or too much memory, or ends in an error.
    """
    task = {"tokenizer": tokenizer, "text": text, "special": special}
    script = Path(__file__).with_name("run_tokenizer.py")
    # A million tokens take some seconds, and 100 bytes each.
    seconds = SECONDS + len(text) // 100_000
    return in_child(script, task, seconds=seconds, most_bytes=MOST_BYTES + 400 * len(text))


def evaluation_windows(ids: Tensor, windows: int | None, length: int) -> Tensor:
    """The first windows of the text, one after the other.

    Args:
        ids: the text's tokens, int64, shape (tokens,).
        windows: how many; None: as many as fit.
        length: tokens of one window.

    Returns:
        int64, shape (windows, length).

    Raises:
        Refused: the text is too short, or a number is not a whole one or too small.
    """
    check_whole("{eval_length}", length, 2)
    if windows is None:
        windows = max(1, len(ids) // length)
    check_whole("{windows}", windows, 1)
    _check_enough(len(ids), 0, windows, length, "{windows} or {eval_length}")
    return ids[: windows * length].reshape(windows, length)


def calibration_windows(ids: Tensor, samples: int, length: int, seed: int, after: int = 0) -> Tensor:
    """Windows at random places, no two of which overlap; every such choice of places is equally likely.

    Args:
        ids: the text's tokens, int64, shape (tokens,).
        samples: how many windows.
        length: tokens of one window.
        seed: same seed, same windows in the same order.
        after: tokens at the beginning that no window touches: those evaluated, where it is the same text.

    Returns:
        int64, shape (samples, length), in random order, so that the first few come from all over the text.

    Raises:
        Refused: the text is too short, or a number is not a whole one or too small.
    """
    check_whole("{samples}", samples, 1)
    check_whole("{length}", length, 2)
    check_whole("{seed}", seed, 0)
    check_whole("after", after, 0)
    _check_enough(len(ids), after, samples, length, "{samples} or {length}")
    # Windows shrunk to one token each lie at distinct positions: draw those, then let every window grow back.
    positions = len(ids) - after - samples * (length - 1)
    generator = np.random.default_rng(seed)
    drawn = np.sort(generator.choice(positions, size=samples, replace=False))  # (samples,)
    starts = generator.permutation(after + drawn + np.arange(samples) * (length - 1))  # (samples,)
    return ids[torch.from_numpy(starts)[:, None] + torch.arange(length)]


def _check_enough(tokens: int, after: int, windows: int, length: int, flags: str) -> None:
    if tokens == 0:
        raise Refused("the text is empty: give another one")
    if tokens - after < windows * length:
        evaluated = f", the first {after:,} of them for evaluation" if after else ""
        asked = f"{windows:,} windows of {length:,} need" if windows > 1 else f"1 window of {length:,} needs"
        has = f"the text has {tokens:,} tokens{evaluated}, {asked} {windows * length:,}"
        raise Refused(f"{has}: give a longer text, or lower {flags}")


def check_windows(what: str, windows: Tensor, network: PreTrainedModel) -> None:
    """Refuse windows that the model cannot read; a tokenizer may have tokens that its model lacks, and on CUDA such a
    token takes the device from the whole process.

    Args:
        what: `calibration`, `evaluation` and the like, for the message.
    """
    if windows.dim() != 2 or windows.dtype != torch.int64 or 0 in windows.shape:
        raise Refused(f"{what} must be int64 token windows of shape (windows, length)")
    vocabulary = network.get_input_embeddings().get_parameter("weight").shape[0]
    if int(windows.min()) < 0 or int(windows.max()) >= vocabulary:
        raise Refused(f"{what} holds a token outside the model's vocabulary of {vocabulary:,}")
