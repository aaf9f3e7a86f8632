"""Which values an export has."""

from __future__ import annotations

import pytest

from components.take_away.job import recipe_for
from wanda_core import Recipe, Refused


def test_an_export_has_the_points_bits_or_rounds_a_point_of_sixteen() -> None:
    assert recipe_for(Recipe(), "gguf-8").bits == 8
    assert recipe_for(Recipe(bits=4), "gguf-4").bits == 4
    assert recipe_for(Recipe(bits=4), "folder").bits == 4
    with pytest.raises(Refused, match="rounded to 4 bits: choose Q4_0, or a point of 16 bits"):
        recipe_for(Recipe(bits=4), "gguf-16")
