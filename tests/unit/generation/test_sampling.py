"""Settings of sampling that are none."""

from __future__ import annotations

import math

import pytest

from wanda_core import Refused
from wanda_core.generation.sampling import Sampling


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("new_tokens", 0),
        ("new_tokens", 2.5),
        ("new_tokens", True),
        ("temperature", -1),
        ("temperature", 10**400),
        ("temperature", math.nan),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_p", 10**400),
        ("top_p", 1.01),
        ("seed", -1),
        ("seed", None),
    ],
)
def test_wrong_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(Refused):
        Sampling(**{field: value})
