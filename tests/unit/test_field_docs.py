"""The docstring of a field is its help."""

from __future__ import annotations

from dataclasses import dataclass, fields

from wanda_core.experiments.experiment import ExperimentSettings
from wanda_core.field_docs import field_docs
from wanda_core.method.recipe import Recipe


def test_each_field_has_its_own_docstring_on_one_line() -> None:
    @dataclass
    class Kind:
        """Not a field's."""

        first: int
        """The first,
        on two lines."""
        bare: int = 3
        last: str = "x"
        """The last."""

    assert field_docs(Kind) == {"first": "The first, on two lines.", "last": "The last."}


def test_every_setting_has_help() -> None:
    for kind in (Recipe, ExperimentSettings):
        assert set(field_docs(kind)) == {field.name for field in fields(kind)}
