"""What is worked on: the loaded model and the token windows of both texts. Shared by all visitors, dense, read-only.

Kept here in the process that computes: on ZeroGPU that is not the page's.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.engine import ZERO_GPU, Progress, Put, import_engine
from components.job import NOISE, Setup
from components.settings import ASSETS, LIMITS
from components.store import Store
from wanda_core.errors import Refused
from wanda_core.recipe import Recipe

_models: Store[Any] = Store(LIMITS.shared_bytes, seconds=float("inf"))
_prunings: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
_texts: Store[Any] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
_loading = threading.Lock()
"""Two loads at a time disturb each other: transformers switches to the meta device for all threads meanwhile."""


def _after_fork() -> None:
    global _loading
    _loading = threading.Lock()


# On ZeroGPU a job's process may begin while a thread of the page's loads a model, which nobody there would end.
os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with the windows that it is calibrated and evaluated on."""

    model: Any
    """`wanda_core.LanguageModel`."""
    tokens: Any
    """Calibration windows, int64 (samples, length)."""
    windows: Any
    """Evaluation windows, int64 (windows, length)."""
    protocol: dict[str, Any]
    """How what is measured on it was measured."""

    def key(self, recipe: Recipe | str) -> tuple[Any, ...]:
        """Names a pruning, or what a word says, of this model, calibrated on these windows."""
        return (self.model.fingerprint, self.protocol["calibration_sha256"], recipe)


def prepare(setup: Setup, put: Put) -> Subject:
    """Load the model and cut the texts into windows.

    Raises:
        Refused: something cannot be had or does not fit together.
    """
    import torch

    from wanda_core import calibration, experiments

    put(Progress("Loading the model", 0.0))
    model = shared_model(setup.source)
    if model.context and setup.length > model.context:
        raise Refused(
            f"{setup.source} reads at most {model.context:,} tokens at a time: lower Tokens per window to that"
        )
    put(Progress("Reading the texts", 0.02))
    evaluation = _read(setup.evaluation, "evaluation", setup)
    windows = calibration.evaluation_windows(_encoded(model, evaluation), setup.windows, setup.eval_length)
    if setup.calibration == NOISE:
        generator = torch.Generator().manual_seed(setup.seed)
        name, after = "random tokens", 0
        tokens = torch.randint(_vocabulary(model), (setup.samples, setup.length), generator=generator)
    else:
        text = _read(setup.calibration, "calibration", setup)
        name, after = text.name, windows.numel() if text.source == evaluation.source else 0
        tokens = calibration.calibration_windows(
            _encoded(model, text), setup.samples, setup.length, setup.seed, after
        )
    texts = {
        "calibration": name,
        "calibration_after": after,
        "seed": setup.seed,
        "evaluation": evaluation.name,
    }
    return Subject(model, tokens, windows, experiments.protocol(model, tokens, windows, texts))


def shared_model(source: str) -> Any:
    """The loaded model, dense and read-only, shared by everybody."""
    from wanda_core import hub_cache, models

    with _loading:
        model = _models.get(source)
        if model is None:
            if LIMITS.hub_bytes is not None:
                hub_cache.make_room(LIMITS.hub_bytes, in_use={*_models.keys(), source})
            model = models.load(source, most_bytes=LIMITS.model_bytes)
            _models.put(source, model, sum(p.numel() * p.element_size() for p in model.network.parameters()))
        return model


def keep_pruning(subject: Subject, pruning: Any) -> None:
    """Remember a finished pruning, for the other views and for whoever asks next."""
    _prunings.put(subject.key(pruning.recipe), pruning, pruning.nbytes)


def pruning_of(
    subject: Subject, recipe: Recipe, put: Put, stop: threading.Event, before: float = 0.0, share: float = 1.0
) -> Any:
    """The pruning by that recipe: the one that is kept, or made now.

    Args:
        before: share of the whole job that is done when pruning begins.
        share: of the whole job that pruning is.
    """
    from wanda_core.points import describe
    from wanda_core.prune import prune

    pruning = kept_pruning(subject, recipe)
    if pruning is None:
        label = f"Pruning {describe(recipe)}"
        pruning = prune(
            subject.model.anatomy,
            subject.tokens,
            recipe,
            on_progress=lambda done, where: put(Progress(f"{label}: {where}", before + share * done)),
            stop=stop,
        )
        keep_pruning(subject, pruning)
    return pruning


def prunings_of(
    subject: Subject, recipes: Sequence[Recipe], put: Put, stop: threading.Event, share: float
) -> list[Any]:
    """`pruning_of` for each recipe; together they are `share` of the whole job."""
    each = share / len(recipes)
    return [
        pruning_of(subject, recipe, put, stop, before=index * each, share=each)
        for index, recipe in enumerate(recipes)
    ]


def kept_pruning(subject: Subject, recipe: Recipe) -> Any | None:
    """The pruning by that recipe, where it was made before and is still kept."""
    return _prunings.get(subject.key(recipe))


def warm_up() -> None:
    """Import the engine, and load the built-in model, before the first visitor asks; on ZeroGPU, where another process
    computes, import alone."""

    def load() -> None:
        import_engine()
        if not ZERO_GPU:
            shared_model("pocket")

    threading.Thread(target=load, name="warm-up", daemon=True).start()


def _vocabulary(model: Any) -> int:
    """Tokens that both the tokenizer and the model know."""
    return min(len(model.tokenizer), model.network.get_input_embeddings().weight.shape[0])


def _encoded(model: Any, text: Any) -> Any:
    """A text's tokens, (tokens,); a sweep asks for the same text many times."""
    from wanda_core.calibration import encode

    key = (model.fingerprint, hashlib.sha256(text.text.encode()).digest())
    ids = _texts.get(key)
    if ids is None:
        ids = encode(text.text, model.tokenizer)
        _texts.put(key, ids, ids.nbytes)
    return ids


def _read(name: str, role: str, setup: Setup) -> Any:
    """The text of that name for calibration or evaluation."""
    from wanda_core.calibration import Text, read_text

    if name == "stories":
        text = read_text(str(ASSETS / "pocket" / f"{role}.txt"), role)
        return replace(text, name=f"the built-in stories ({role} part)")
    if name == "own":
        return Text("your own text", setup.own_text, "own")
    return read_text(name, role, characters=8 * LIMITS.tokens)
