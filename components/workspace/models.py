"""The loaded models that all visitors share, dense and read-only."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING

from components.cache import Shelf, Store
from components.jobs.runner import ZERO_GPU, give_way, import_engine
from components.limits import LIMITS

if TYPE_CHECKING:
    from wanda_core.models.language_model import LanguageModel

_models: Shelf[LanguageModel] = Shelf("models", Store(LIMITS.shared_bytes, seconds=float("inf")))
_loading = threading.Lock()
"""Two loads at a time disturb each other: transformers switches to the meta device for all threads meanwhile. Held by
jobs alone: no handler of the page waits for it."""


def _renew_lock() -> None:
    global _loading
    _loading = threading.Lock()


# On ZeroGPU a job's process may begin while a thread of the page's loads a model, which nobody there would end.
os.register_at_fork(after_in_child=_renew_lock)


def loaded(source: str, revision: str | None = None, dtype: str = "auto") -> LanguageModel | None:
    """The model, if it is loaded."""
    return _models.get((source, revision, dtype))


def shared_model(source: str, revision: str | None = None, dtype: str = "auto") -> LanguageModel:
    """The loaded model; loaded first if need be.

    Raises:
        Refused: it cannot be had, or is too large.
    """
    from wanda_core.models import hub_cache
    from wanda_core.models.load import load

    key = (source, revision, dtype)
    model = _models.get(key)
    if model is not None:
        return model
    with _loading:
        model = _models.get(key)
        if model is None:
            if LIMITS.hub_bytes is not None:
                loaded_ones = _models.held()
                used = {name for name, *_ in loaded_ones} | {source}
                hub_cache.make_room(LIMITS.hub_bytes, in_use=used)
            model = load(
                source, revision=revision, dtype=dtype, most_bytes=LIMITS.model_bytes, make_room=_let_go
            )
            _models.put(key, model, sum(p.numel() * p.element_size() for p in model.network.parameters()))
        return model


def _let_go(needed: int) -> None:
    """Drop loaded models, the least recently used first, until so many bytes are free or none is left."""
    import torch

    from wanda_core.machine import device_named, free_bytes, give_back

    place: torch.device = device_named("auto")
    for key in _models.held():
        if free_bytes(place) >= needed:
            return
        _models.drop(key)
        gc.collect()
        give_back()


def warm_up(source: str) -> None:
    """Import the engine, and load the default model, before the first visitor asks; on ZeroGPU, where another process
    computes, import alone."""

    def load() -> None:
        give_way()
        import_engine()
        if not ZERO_GPU:
            shared_model(source)

    threading.Thread(target=load, name="warm-up", daemon=True).start()
