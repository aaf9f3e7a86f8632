"""The sweeps that visitors look at, and the recorded ones."""

from __future__ import annotations

from functools import cache

from components.assets import ASSETS
from components.cache import Store
from components.limits import LIMITS
from components.sweep.job import Swept
from wanda_core.errors import Refused
from wanda_core.experiments.rows import load_json

GALLERY = {
    "amounts": "All methods, 10 to 80%, 4:8, 2:4",
    "windows": "1 to 16 calibration windows",
    "texts": "Calibrated on other texts",
    "claims": "The paper's claims",
}

shown_store: Store[Swept] = Store(LIMITS.result_bytes, LIMITS.result_seconds)
"""What visitors look at, by a random key that their page holds: the budget's slider needs the rows again."""


@cache
def recorded(name: str) -> Swept:
    """A recorded sweep, by its name in `GALLERY`."""
    protocol, rows = load_json(ASSETS / "recorded" / f"sweep-{name}.json")
    return Swept(protocol, rows, len(rows), origin="recorded")


def swept_named(key: object) -> Swept:
    swept = None
    if isinstance(key, str):
        swept = recorded(key) if key in GALLERY else shown_store.get(key)
    if swept is None:
        raise Refused("these results are no longer kept: sweep again, or open the saved file")
    return swept
