"""What the panel holds before anybody touched it: also what the recorded results were measured with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wanda_core.models import named_sources
from wanda_core.models.named_sources import SMOLLM2_HUB

POCKET = "pocket"
SMOLLM2 = "smollm2"
RECORDED_MODEL = "SmolLM2-135M-Instruct"
"""The model that recorded results are of."""
DEFAULTS: dict[str, Any] = {
    "amounts": ("30", "50", "70"),
    "other_amounts": "",
    "methods": ("wanda", "magnitude"),
    "chat": False,
    "samples": 4,
    "length": 256,
    "windows": 8,
    "seeds": "0",
    "schedule": "layer",
    "group": "own",
    "allocation": "uniform",
    "beta": 0.01,
    "recovery": "none",
    "order": "none",
    "bits": ("16",),
    "dtype": "auto",
    "revision": "",
}


def source_labels() -> dict[str, str]:
    """What the built-in sources are called."""
    return {
        SMOLLM2: "SmolLM2-135M-Instruct",
        POCKET: "pocket: for trying the controls; too small to tell the methods apart",
    }


def offered_sources(own: Sequence[str]) -> list[str]:
    """The models that the page offers beside those of the Hub, the one to choose first.

    Args:
        own: folders and files named at the start.
    """
    return list(dict.fromkeys([named_sources.default_source(), *named_sources.available_sources(), *own]))


def default_source(sources: Sequence[str]) -> str:
    """The model that is chosen when the page opens."""
    return sources[0]


def is_recorded(source: object) -> bool:
    """Whether recorded results are of this model, wherever it comes from."""
    return source in (SMOLLM2, SMOLLM2_HUB)


def default_text(source: str) -> str:
    """The built-in text for a model: pocket was trained on stories and knows nothing else."""
    return "stories" if source == POCKET else "pydoc"
