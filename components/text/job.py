"""Texts side by side: the job that writes them, and what the page is told of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from components.assets import ASSETS
from components.display.names import name, point
from components.jobs.job import Job, Progress, Put
from components.jobs.runner import SECONDS_BETWEEN_EVENTS
from components.request_checks import broken, whole
from components.workspace.beside import side_by_side
from components.workspace.experiment import fetch, prepare
from components.workspace.prunings import prunings_of
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

GALLERY = {"third": "30% pruned", "half": "50% pruned", "two-four": "2:4"}
"""Recorded texts, all on one prompt, by magnitude, Wanda and SparseGPT."""


PROMPT_CHARACTERS = 4_000


NEW_TOKENS = 500


def check(values: Mapping[str, Any]) -> Write:
    """What the view asks for, from what its controls and the panel's hold, by name.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    from wanda_core.generation.sampling import Sampling

    prompt, pack = values.get("prompt"), values.get("pack", False)
    if not isinstance(prompt, str) or not prompt.strip():
        raise Refused("the prompt is empty: type a few words")
    if len(prompt) > PROMPT_CHARACTERS:
        raise Refused(
            f"the prompt has {len(prompt):,} characters, {PROMPT_CHARACTERS:,} are allowed: shorten it"
        )
    if broken(prompt):
        raise Refused("the prompt holds an invalid character (a broken emoji): type it again")
    sampling = Sampling(
        whole("New tokens", values.get("new_tokens"), 1, NEW_TOKENS),
        values.get("temperature", 0.0),
        values.get("top_p", 1.0),
        whole("Seed of the text", values.get("text_seed"), 0, 2**31 - 1),
    )
    if not isinstance(pack, bool):
        raise Refused("Packed weights are either on or off")
    setup, recipes = side_by_side(values)
    return Write(
        setup,
        recipes,
        prompt,
        sampling.new_tokens,
        float(sampling.temperature),
        float(sampling.top_p),
        sampling.seed,
        pack,
    )


def recorded_texts(name: str) -> Texts:
    """The texts of one name in `GALLERY`, which fill the view before anything was written here."""
    return Texts(**json.loads((ASSETS / "recorded" / f"texts-{name}.json").read_text(encoding="utf-8")))


PRUNING = 0.4
"""Share of the progress bar that making the prunings takes."""


@dataclass
class Texts:
    """What is written so far; also the content of a recorded run."""

    protocol: dict[str, Any] = field(default_factory=dict)
    columns: list[dict[str, Any]] = field(default_factory=list)
    """The dense text, then each pruning's: its name, text and figures, see `column`."""

    def reported(self) -> dict[str, Any]:
        """The texts as `report_html` takes them."""
        from wanda_core.experiments.report import ReportText

        texts = [ReportText(each["name"], each["text"], _note(each)) for each in self.columns]
        return {"texts": (self.protocol["prompt"], texts)}


def _note(column: Mapping[str, Any]) -> str:
    said = [f"{column['tokens']} tokens"]
    if column["departs"] is not None:
        said.append(f"departs from the dense text at token {column['departs'] + 1}")
    if column["repetition"] is not None:
        said.append(f"{column['repetition']:.0%} repeats")
    if column["perplexity"] is not None:
        said.append(f"perplexity {column['perplexity']:.3g} under the dense model")
    return ", ".join(said)


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

    def fetch(self, put: Put) -> None:
        fetch(self.setup, put)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.generation.sampling import Sampling
        from wanda_core.generation.side_by_side import encode_prompt, generate_side_by_side

        sampling = Sampling(self.new_tokens, self.temperature, self.top_p, self.seed)
        subject = prepare(self.setup, put)
        prompt = encode_prompt(subject.model, self.prompt)
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

        generate_side_by_side(
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
