"""The model, texts and windows that a visitor chose."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

TEXTS = {
    "stories": "Stories (built in)",
    "pydoc": "Python documentation (built in)",
    "wikitext2": "WikiText-2 (from the Hub)",
    "c4": "C4 (from the Hub)",
    "own": "My own text",
    "file": "A file of mine",
    "dataset": "A data set of the Hub",
}
NOISE = "random"
"""A calibration on random tokens: how much does the text matter? For sensitivity alone."""


TEXT_NAMES = {key: label.split(" (")[0] for key, label in TEXTS.items()} | {NOISE: "Random tokens"}


def text_name(text: str | None) -> str:
    """What the page calls a text; that of a saved or recorded row may be another's own name."""
    return TEXT_NAMES.get(text or "", text or "")


@dataclass(frozen=True)
class Setup:
    """A model, two texts, and the windows to take of them; its fields are named as the panel's controls."""

    source: str
    calibration: str
    """A key of `TEXTS`, or `NOISE`."""
    evaluation: str
    own_text: str = ""
    """What the visitor typed or uploaded, for `own` and `file`."""
    own_name: str = ""
    """Name of the uploaded file."""
    own_conversations: str = ""
    """What the uploaded file has in a column `messages`: a JSON list of lists of messages, for the chat template."""
    dataset: str = ""
    """Hub id, for `dataset`."""
    split: str = ""
    column: str = ""
    chat: bool = False
    """Calibrate through the model's chat template."""
    samples: int = 4
    length: int = 256
    windows: int = 8
    seed: int = 0
    revision: str | None = None
    dtype: str = "auto"

    @property
    def eval_length(self) -> int:
        """Tokens of an evaluation window: as of a calibration window."""
        return self.length

    @property
    def model(self) -> tuple[str, str | None, str]:
        """Source, revision and dtype."""
        return self.source, self.revision, self.dtype

    @property
    def dataset_spec(self) -> str:
        """The data set as `read_text` takes it: `owner/name[@split][#column]`."""
        split, column = self.split and f"@{self.split}", self.column and f"#{self.column}"
        return f"{self.dataset}{split}{column}"

    @property
    def digest(self) -> str:
        """Names it, without holding on to a visitor's own text."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def seeded(self, seed: int) -> Setup:
        """The same with other calibration windows."""
        return replace(self, seed=seed)
