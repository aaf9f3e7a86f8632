"""The loaded models that all visitors share."""

from __future__ import annotations

import threading
from typing import Any

from components.cache import Store
from components.jobs.runner import ZERO_GPU, import_engine
from components.limits import LIMITS

_models: Store[Any] = Store(LIMITS.shared_bytes, seconds=float("inf"))


_loading = threading.Lock()
"""Two loads at a time disturb each other: transformers switches to the meta device for all threads meanwhile."""


def after_fork() -> None:
    global _loading
    _loading = threading.Lock()


def shared_model(source: str) -> Any:
    """The loaded model, dense and read-only, shared by everybody."""
    from wanda_core.models import hub_cache
    from wanda_core.models.load import load

    with _loading:
        model = _models.get(source)
        if model is None:
            if LIMITS.hub_bytes is not None:
                hub_cache.make_room(LIMITS.hub_bytes, in_use={*_models.keys(), source})
            model = load(source, most_bytes=LIMITS.model_bytes)
            _models.put(source, model, sum(p.numel() * p.element_size() for p in model.network.parameters()))
        return model


def warm_up() -> None:
    """Import the engine, and load the built-in model, before the first visitor asks; on ZeroGPU, where another process
    computes, import alone."""

    def load() -> None:
        import_engine()
        if not ZERO_GPU:
            shared_model("pocket")

    threading.Thread(target=load, name="warm-up", daemon=True).start()
