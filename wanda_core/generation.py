"""Texts side by side: one prompt continued by the dense model and by its prunings, a token of each in turn.

Every text comes out of transformers' own `generate`, running in a greenlet of its own: it parks at each new token, the
model is pointed at the next text's weights, and that text goes on. Each has its own cache and its own random numbers,
so all are what they would be alone.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig

from wanda_core import memory
from wanda_core.errors import Refused
from wanda_core.models import LanguageModel
from wanda_core.packed import Packed
from wanda_core.parked_text import ParkedText, Weights, weights_of
from wanda_core.pruning import Pruning
from wanda_core.windows import check_windows

NGRAM = 4
"""Tokens of the pieces that repetition is counted in, as in Welleck et al., "Neural Text Generation with Unlikelihood
Training" (arXiv 1908.04319): seq-rep-4."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. What is not here is as the model's own generation settings have it."""

    new_tokens: int = 100
    """At most so many; a text also ends at the model's own end token."""
    temperature: float = 0.0
    """0 is greedy: always the likeliest token."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that together have this probability. Greedy choice does not look at it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not _is_number(self.new_tokens, int) or self.new_tokens < 1:
            raise Refused("New tokens must be a whole number, 1 or more")
        if not _is_number(self.temperature, float) or not 0 <= self.temperature <= 10:
            raise Refused("Temperature must be a number between 0 (greedy) and 10")
        if not _is_number(self.top_p, float) or not 0 < self.top_p <= 1:
            raise Refused("Top-p must be a number above 0, at most 1")
        if not _is_number(self.seed, int) or not 0 <= self.seed < 2**63:
            raise Refused("Seed must be a whole number, 0 or more")

    def config(self) -> GenerationConfig:
        """The same, for `generate`; `top_k` is off, which transformers would set to 50."""
        drawn = {"temperature": float(self.temperature), "top_p": float(self.top_p), "top_k": 0}
        return GenerationConfig(
            max_new_tokens=self.new_tokens,
            num_beams=1,
            do_sample=self.temperature > 0,
            **(drawn if self.temperature > 0 else {}),
        )


@dataclass
class Writing:
    """A continuation, as far as it is written."""

    tokens: list[int] = field(default_factory=list)
    """The new tokens, the end token included where there is one."""
    finished: bool = False
    prefill_seconds: float = 0.0
    """Until the first token: reading the prompt."""
    decode_seconds: float = 0.0
    """For all tokens after the first, this text's own steps alone."""
    departs: int | None = None
    """Index of the first token that is not the dense model's; None where there is none (yet)."""
    perplexity: float | None = None
    """exp of the mean negative log-likelihood that the dense model gives these tokens after the prompt, at temperature
    1; None until the text is finished."""

    packed: Packed | None = None
    """How its layers compute, where packed weights were asked for."""

    @property
    def tokens_per_second(self) -> float | None:
        """Of all tokens but the first; None before the second."""
        return (len(self.tokens) - 1) / self.decode_seconds if len(self.tokens) > 1 else None

    @property
    def repetition(self) -> float | None:
        """Share of the text's 4-grams of tokens that were there before; None under 4 tokens."""
        return repetition(self.tokens)

    def text(self, tokenizer: Any) -> str:
        """What it reads, without special tokens."""
        return tokenizer.decode(self.tokens, skip_special_tokens=True)

    def shared_characters(self, tokenizer: Any) -> int | None:
        """How many characters come before the departure; None without one."""
        if self.departs is None:
            return None
        shared = tokenizer.decode(self.tokens[: self.departs], skip_special_tokens=True)
        # A character may be spread over several tokens: it counts as departed if any of them is.
        place = departure(shared, self.text(tokenizer))
        return len(shared) if place is None else place


OnToken = Callable[[list[Writing], float], None]
"""Called with all writings, dense first, and the share of the new tokens that is written."""


def encode_prompt(model: LanguageModel, prompt: str) -> Tensor:
    """The prompt as the model expects it: through its chat template where it has one, as it stands otherwise.

    Returns:
        int64 (1, tokens).

    Raises:
        Refused: it is empty, or the chat template does not take it.
    """
    if not prompt.strip():
        raise Refused("the prompt is empty: type a few words")
    if model.tokenizer.chat_template:
        try:
            ids = model.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
            )["input_ids"]
        except Exception as error:  # a template is a program that came with the model
            raise Refused(f"the chat template of {model.source} fails: {str(error)[:200]}") from error
    else:
        ids = model.tokenizer(prompt)["input_ids"]
    if not ids:
        raise Refused("the prompt holds no tokens: type a few words")
    return torch.tensor([ids])


@torch.no_grad()
def write(
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
            or the weights of one pruning do not fit.
        Stopped: `stop` was set.
    """
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
    with model.anatomy.stoppable(stop), torch.random.fork_rng(devices):
        written = 0
        for group in groups:
            weights = [] if written else [Weights.now(model.anatomy)]
            for pruning in group:
                pruned, writings[written + len(weights)].packed = weights_of(
                    model.anatomy, pruning, pack, stop
                )
                weights.append(pruned)
            here = writings[written : written + len(weights)]
            _write_together(model, prompt, weights, here, sampling, lambda: tell(_count(writings, sampling)))
            written += len(weights)
        for writing in writings:
            writing.perplexity = math.exp(-_mean_log_likelihood(model.network, prompt, writing.tokens))
    tell(len(writings) * sampling.new_tokens)
    return writings


def departure(one: Sequence[Any], other: Sequence[Any]) -> int | None:
    """Index of the first token, or character, that differs; None as long as one is the other's beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


def repetition(tokens: Sequence[int]) -> float | None:
    """Share of 4-grams that occurred before in the same tokens; None where there is no 4-gram."""
    pieces = [tuple(tokens[i : i + NGRAM]) for i in range(len(tokens) - NGRAM + 1)]
    return 1 - len(set(pieces)) / len(pieces) if pieces else None


def _weights_that_fit(model: LanguageModel, tokens: int, wanted: int) -> int:
    """How many prunings' weights the memory holds beside the model, at most `wanted`.

    Raises:
        Refused: not even one's.
    """
    element = model.anatomy.layers[0].stored.element_size()
    hidden = model.anatomy.layers[0].weight.shape[1]
    config = model.network.config.get_text_config()
    cache = 2 * len(model.anatomy.blocks) * hidden * tokens * element
    logits = 3 * 4 * config.vocab_size * tokens
    one = cache + sum(layer.stored.numel() for layer in model.anatomy.layers) * element
    free = memory.free_bytes(model.device) - memory.LIBRARIES - logits - cache
    if wanted and free < one:
        raise Refused(
            f"writing with pruned weights needs {memory.gigabytes(one)} beside the model, "
            f"{memory.gigabytes(max(free, 0))} are free: take a smaller model"
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
    dense = Weights.now(model.anatomy)
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
    else:
        writing.prefill_seconds = perf_counter() - start
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


def _is_number(value: object, kind: type) -> bool:
    kinds = int if kind is int else int | float
    return isinstance(value, kinds) and not isinstance(value, bool)
