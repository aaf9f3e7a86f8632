"""What is worked on: the loaded model and the token windows of both texts. Shared by all visitors, dense, read-only.

Kept here in the process that computes: on ZeroGPU that is not the page's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.cache import Shelf
from components.jobs.job import Progress, Put
from components.limits import LIMITS
from components.workspace.models import loaded, shared_model
from components.workspace.setup import NOISE, Setup
from wanda_core.method.recipe import Recipe
from wanda_core.models.hub_id import is_hub_id

if TYPE_CHECKING:  # the page starts without torch
    from wanda_core.texts.sources import Role

_texts: Shelf[Any] = Shelf("tokens of texts")
_read_before: Shelf[Any] = Shelf("texts")


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

    def key(self, recipe: Recipe | str | None) -> tuple[Any, ...]:
        """Names a pruning, or what a word says, of this model, calibrated on these windows."""
        return (self.model.fingerprint, self.protocol["calibration_sha256"], recipe)


def fetch(setup: Setup, put: Put) -> None:
    """Get a model's files and the texts from elsewhere, if they are not here yet.

    Raises:
        Refused: something cannot be had.
    """
    hub = is_hub_id(setup.source) and not Path(setup.source).exists()
    if hub and loaded(setup.source, setup.revision, setup.dtype) is None:
        from wanda_core.machine import device_named, dtype_named
        from wanda_core.models.source import locate
        from wanda_core.models.target import Target

        put(Progress("Fetching the model", 0.0))
        place = device_named("auto")
        locate(
            setup.source, setup.revision, Target(place, dtype_named(setup.dtype, "auto"), LIMITS.model_bytes)
        )
    roles: tuple[tuple[Role, str], ...] = (
        ("evaluation", setup.evaluation),
        ("calibration", setup.calibration),
    )
    for role, name in roles:
        if name not in (NOISE, "own", "file"):
            put(Progress("Fetching the text", 0.0))
            _read(name, role, setup)


def prepare(setup: Setup, put: Put) -> Subject:
    """Load the model and cut the texts into windows.

    Raises:
        Refused: something cannot be had or does not fit together.
    """
    from wanda_core.experiments.experiment import Experiment, ExperimentSettings

    settings = ExperimentSettings(
        source=setup.source,
        revision=setup.revision,
        dtype=setup.dtype,
        calibration=setup.calibration,
        chat=setup.chat,
        samples=setup.samples,
        length=setup.length,
        seed=setup.seed,
        evaluation=setup.evaluation,
        windows=setup.windows,
        eval_length=setup.eval_length,
    )
    made = Experiment.prepare(
        settings,
        load=lambda asked: shared_model(asked.source, asked.revision, asked.dtype),
        read=lambda name, role, _: _read(name, role, setup),
        encode=_encoded,
        on_progress=lambda doing: put(Progress(doing, 0.0)),
    )
    return Subject(made.model, made.tokens, made.windows, made.protocol)


def _encoded(model: Any, text: Any) -> Any:
    """A text's tokens, (tokens,); a sweep asks for the same text many times."""
    from wanda_core.texts.windows import encode

    key = (model.fingerprint, hashlib.sha256(text.text.encode()).digest())
    ids = _texts.get(key)
    if ids is None:
        ids = encode(text.text, model.tokenizer)
        _texts.put(key, ids, ids.nbytes)
    return ids


def _read(name: str, role: Role, setup: Setup) -> Any:
    """The text of that name for calibration or evaluation."""
    from wanda_core.texts.sources import Text, read_text

    if name in ("own", "file"):
        conversations = tuple(map(tuple, json.loads(setup.own_conversations or "[]")))
        return Text(setup.own_name or "your own text", setup.own_text, "own", conversations)
    spec = setup.dataset_spec if name == "dataset" else name
    kept = _read_before.get((spec, role))
    if kept is None:
        kept = read_text(spec, role, characters=8 * LIMITS.tokens)
        _read_before.put((spec, role), kept, 2 * len(kept.text))
    return kept
