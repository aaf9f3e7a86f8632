"""Texts side by side: one prompt continued by the dense model and by its prunings, a token of each in turn.

Every text comes out of transformers' own `generate`, running in a greenlet of its own: it parks at each new token, the
model is pointed at the next text's weights, and that text goes on. Each has its own cache and its own random numbers,
so all are what they would be alone.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wanda_core.errors import Refused
from wanda_core.generation.parked_generate import ParkedText, Weights, weights_of
from wanda_core.generation.sampling import Sampling
from wanda_core.generation.writing import Writing, departure
from wanda_core.machine import LIBRARIES, free_bytes, gigabytes
from wanda_core.models.language_model import LanguageModel, refuse_streamed
from wanda_core.pruning.result import Pruning
from wanda_core.texts.chat import encode_prompt as encode_with_template
from wanda_core.texts.windows import check_windows

OnToken = Callable[[list[Writing], float], None]
"""Called with all writings, dense first, and the share of the new tokens that is written."""


def encode_prompt(model: LanguageModel, prompt: str) -> Tensor:
    """The prompt as the model expects it: through its chat template where it has one, as it stands otherwise.

    Returns:
        int64 (1, tokens).

    Raises:
        Refused: it is empty, or the chat template does not take it.
    """
    try:
        return encode_with_template(model.tokenizer, prompt)
    except Refused as error:
        told = error.text.replace("the model's chat template", f"the chat template of {model.source}")
        raise Refused(told) from error


@torch.no_grad()
def generate_side_by_side(
    model: LanguageModel,
    prompt: Tensor,
    prunings: Sequence[Pruning],
    sampling: Sampling,
    *,
    pack: bool = False,
    on_token: OnToken | None = None,
    stop: threading.Event | None = None,
) -> list[Writing]:
    """Continue the prompt with the dense model and with every pruning of it, all at the same time where the memory
    holds their weights, else as many at a time as it holds.

    Args:
        prompt: int64 (1, tokens), from `encode_prompt`.
        pack: let the prunings compute with packed weights where there is a kernel for them (see `packed`): faster, and
            the same up to rounding, which may tip a token.
        stop: set it from another thread to end with `Stopped`, inside a forward at the next block.

    Returns:
        The writings, dense first. The model is dense afterwards.

    Raises:
        Refused: the prompt holds a token that the model lacks, it and the new tokens are longer than the model reads,
            the weights of one pruning do not fit, or the model is streamed.
        Stopped: `stop` was set.
    """
    refuse_streamed(model, "writing texts")
    check_windows("the prompt", prompt, model.network)
    tokens = prompt.shape[1] + sampling.new_tokens
    if model.context and tokens > model.context:
        raise Refused(
            f"{prompt.shape[1]} tokens of prompt and {sampling.new_tokens} new ones are more than the "
            f"{model.context:,} that {model.source} reads: shorten the prompt or ask for fewer"
        )
    prompt = prompt.to(model.device)
    writings = [Writing() for _ in range(1 + len(prunings))]
    most = _weights_that_fit(model, tokens, len(prunings))
    groups = [prunings[start : start + most] for start in range(0, len(prunings), most)] or [[]]

    def tell(done: int) -> None:
        _mark_departures(writings)
        if on_token:
            on_token(writings, done / (len(writings) * sampling.new_tokens))

    devices = [model.device] if model.device.type == "cuda" else []
    with model.prunable.alone(stop), model.prunable.stoppable(stop), torch.random.fork_rng(devices):
        written = 0
        for group in groups:
            weights = [] if written else [Weights.now(model.prunable)]
            for pruning in group:
                pruned, writings[written + len(weights)].packed = weights_of(
                    model.prunable, pruning, pack, stop
                )
                weights.append(pruned)
            here = writings[written : written + len(weights)]
            _write_together(model, prompt, weights, here, sampling, lambda: tell(_count(writings, sampling)))
            written += len(weights)
        for writing in writings:
            writing.perplexity = math.exp(-_mean_log_likelihood(model.network, prompt, writing.tokens))
    tell(len(writings) * sampling.new_tokens)
    return writings


def _weights_that_fit(model: LanguageModel, tokens: int, wanted: int) -> int:
    """How many prunings' weights the memory holds beside the model, at most `wanted`.

    Raises:
        Refused: not even one's.
    """
    element = model.prunable.layers[0].stored.element_size()
    hidden = model.prunable.layers[0].weight.shape[1]
    config = model.network.config.get_text_config()
    cache = 2 * len(model.prunable.blocks) * hidden * tokens * element
    logits = 3 * 4 * config.vocab_size * tokens
    one = cache + sum(layer.stored.numel() for layer in model.prunable.layers) * element
    free = free_bytes(model.device) - LIBRARIES - logits - cache
    if wanted and free < one:
        raise Refused(
            f"writing with pruned weights needs {gigabytes(one)} beside the model, "
            f"{gigabytes(max(free, 0))} are free: take a smaller model"
        )
    return max(1, min(wanted, free // one))


def _write_together(
    model: LanguageModel,
    prompt: Tensor,
    weights: list[Weights],
    writings: list[Writing],
    sampling: Sampling,
    tell: Callable[[], None],
) -> None:
    """Continue with each of the weights, in turn and token by token, until all are finished."""
    dense = Weights.now(model.prunable)
    torch.manual_seed(sampling.seed)
    texts = [ParkedText(model, prompt, sampling.config(), own) for own in weights]
    try:
        while not all(writing.finished for writing in writings):
            for text, writing in zip(texts, writings, strict=True):
                if not writing.finished:
                    _write_next(text, writing)
            tell()
    finally:
        for text in texts:
            text.close()
        dense.put()


def _write_next(text: ParkedText, writing: Writing) -> None:
    """Write the text's next token, or find that there is none."""
    start = perf_counter()
    token = text.step()
    if token is None:
        writing.finished = True
        return
    if writing.tokens:
        writing.decode_seconds += perf_counter() - start
    writing.tokens.append(token)


def _mean_log_likelihood(network: Any, prompt: Tensor, tokens: list[int]) -> float:
    """Mean log-probability, in nats, of the tokens after the prompt (1, length)."""
    new = torch.tensor([tokens], device=prompt.device)
    logits = network(input_ids=torch.cat([prompt, new], dim=1), use_cache=False).logits
    logits = logits[0, prompt.shape[1] - 1 : -1].float()  # (new tokens, vocabulary)
    return -functional.cross_entropy(logits, new[0]).double().item()


def _mark_departures(writings: list[Writing]) -> None:
    dense, *pruned = writings
    for writing in pruned:
        if writing.departs is None:
            writing.departs = departure(writing.tokens, dense.tokens)


def _count(writings: list[Writing], sampling: Sampling) -> int:
    """New tokens that need no more waiting for."""
    return sum(sampling.new_tokens if w.finished else len(w.tokens) for w in writings)
