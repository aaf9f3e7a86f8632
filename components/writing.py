"""Texts side by side: the job that writes them, and what the page is told of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from components.engine import SECONDS_BETWEEN_EVENTS, Job, Progress, Put
from components.job import Setup
from components.subject import prepare, prunings_of
from components.words import name, point
from wanda_core.recipe import Recipe

PRUNING = 0.4
"""Share of the progress bar that making the prunings takes."""


@dataclass
class Texts:
    """What is written so far; also the content of a recorded run."""

    protocol: dict[str, Any] = field(default_factory=dict)
    columns: list[dict[str, Any]] = field(default_factory=list)
    """The dense text, then each pruning's: its name, text and figures, see `column`."""


@dataclass(frozen=True)
class Write(Job):
    """Continue a prompt with the dense model and with every recipe's pruning."""

    setup: Setup
    recipes: tuple[Recipe, ...]
    prompt: str
    new_tokens: int
    temperature: float
    top_p: float
    seed: int
    pack: bool
    """Let the prunings compute with packed weights."""

    @property
    def gpu_seconds(self) -> float:
        return 30 + 15 * len(self.recipes)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core import generation

        sampling = generation.Sampling(self.new_tokens, self.temperature, self.top_p, self.seed)
        subject = prepare(self.setup, put)
        prompt = generation.encode_prompt(subject.model, self.prompt)
        prunings = prunings_of(subject, self.recipes, put, stop, share=PRUNING)
        protocol = subject.protocol | {
            "prompt": self.prompt,
            "prompt_tokens": prompt.shape[1],
            "chat_template": bool(subject.model.tokenizer.chat_template),
            "new_tokens": self.new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "text_seed": self.seed,
            "pack": self.pack,
        }
        names = [name("dense"), *(point(recipe.as_dict()) for recipe in self.recipes)]
        last = 0.0

        def on_token(writings: list[Any], share: float) -> None:
            nonlocal last
            if monotonic() - last > SECONDS_BETWEEN_EVENTS or share == 1:
                last = monotonic()
                put(Progress("Writing", PRUNING + (1 - PRUNING) * share))
                columns = [
                    column(name, writing, subject.model.tokenizer, self.new_tokens)
                    for name, writing in zip(names, writings, strict=True)
                ]
                put(Texts(protocol, columns))

        generation.write(
            subject.model, prompt, prunings, sampling, pack=self.pack, on_token=on_token, stop=stop
        )


def column(name: str, writing: Any, tokenizer: Any, most: int) -> dict[str, Any]:
    """A text and its figures as plain values; `ended` says whether it ended before `most` tokens."""
    return {
        "name": name,
        "text": writing.text(tokenizer),
        "shared": writing.shared_characters(tokenizer),
        "tokens": len(writing.tokens),
        "finished": writing.finished,
        "ended": writing.finished and len(writing.tokens) < most,
        "departs": writing.departs,
        "repetition": writing.repetition,
        "perplexity": writing.perplexity,
        "tokens_per_second": writing.tokens_per_second,
        "packed": packing(writing.packed),
    }


def packing(packed: Any) -> str | None:
    """How the layers compute, in a few words; None where packed weights were not asked for."""
    if packed is None:
        return None
    if not packed.kernels:
        return f"no: {next(iter(packed.dense.values()))}"
    kernels = ", ".join(sorted(set(packed.kernels.values())))
    return f"{kernels}, {len(packed.dense)} layers not" if packed.dense else kernels
