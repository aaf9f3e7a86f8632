"""What is known of a model before it is loaded: its weights, what there is to download, and whether it fits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

from components.assets import ASSETS
from components.workspace.defaults import POCKET, SMOLLM2, is_recorded
from components.workspace.models import loaded

SECONDS = 5
"""That the Hub has to answer in."""
KNOWN = {POCKET: 2_828_736, SMOLLM2: 134_515_008}
"""Weights of the built-in models."""
RECORDED_BLOCKS = 30
"""Of SmolLM2-135M."""


@dataclass(frozen=True)
class ModelFacts:
    """Of one source; None where it is not known."""

    weights: int | None
    download_bytes: int | None = None
    """From the Hub; 0 for what is here."""

    @property
    def memory_bytes(self) -> int | None:
        """In float32."""
        return None if self.weights is None else 4 * self.weights

    @property
    def fits(self) -> bool | None:
        """Whether the weights fit into free memory twice: what pruning holds beside them is less than once."""
        needed = self.memory_bytes
        return None if needed is None else 2 * needed < psutil.virtual_memory().available


def facts_of(source: str, revision: str | None) -> ModelFacts:
    """What is known of a source; asks the Hub where it is one of its ids, for at most `SECONDS`."""
    model = loaded(source, revision)
    if model is not None:
        return ModelFacts(sum(p.numel() for p in model.network.parameters()), 0)
    if source in KNOWN:
        return ModelFacts(KNOWN[source], 0)
    place = Path(source)
    if place.is_file():  # a GGUF file, at 4 bits a weight, the usual
        return ModelFacts(2 * place.stat().st_size, 0)
    if place.is_dir():
        size = sum(file.stat().st_size for file in place.glob("*.safetensors"))
        return ModelFacts(size // 2, 0)  # bfloat16, the usual
    return _on_the_hub(source, revision)


def blocks_of(source: str, revision: str | None) -> int | None:
    """Decoder blocks of a model, where that is known without asking the Hub."""
    model = loaded(source, revision)
    if model is not None:
        return len(model.prunable.blocks)
    if is_recorded(source):
        return RECORDED_BLOCKS
    folder = ASSETS / "pocket" if source == POCKET else Path(source)
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("num_hidden_layers")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) and found > 0 else None


@lru_cache(maxsize=256)
def _on_the_hub(source: str, revision: str | None) -> ModelFacts:
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        info = model_info(source, revision=revision, files_metadata=True, timeout=SECONDS)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError):
        return ModelFacts(None)
    files = [file for file in info.siblings or [] if file.rfilename.endswith(".safetensors")]
    weights = sum(info.safetensors.parameters.values()) if info.safetensors else None
    return ModelFacts(weights, sum(file.size or 0 for file in files))
