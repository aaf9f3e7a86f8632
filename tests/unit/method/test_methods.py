"""Named methods: what each of them looks at, and the group its weights compete in."""

from __future__ import annotations

import pytest

from wanda_core import METHODS, Refused
from wanda_core.method.methods import method_named

# From the papers and the authors' code: Wanda compares within a row, magnitude, RIA and SparseGPT within the layer.
EXPECTED = {
    "magnitude": ("layer", "none", False, False),
    "random": ("output", "none", False, False),
    "wanda": ("output", "none", True, False),
    "ria": ("layer", "none", True, False),
    "sparsegpt": ("layer", "sparsegpt", True, True),
    "wanda+admm": ("output", "admm", True, True),
    "magnitude+admm": ("layer", "admm", True, True),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_method_is(name: str) -> None:
    method = METHODS[name]
    assert (method.group, method.update, method.needs_inputs, method.needs_gram) == EXPECTED[name]
    assert method_named(name) == method


def test_they_are_listed_once_each_and_each_is_found() -> None:
    names = list(METHODS)
    assert len(names) == len(set(names)) == len(METHODS)
    assert set(EXPECTED) <= set(names)
    assert [METHODS[name].name for name in names] == names


@pytest.mark.parametrize(
    "name", ["", "Wanda", "wanda+sparsegpt", "wanda+admm+admm", "+admm", "sparsegpt+admm", None, 7, ["wanda"]]
)
def test_what_is_no_method_is_refused_with_those_there_are(name: object) -> None:
    with pytest.raises(Refused, match="choose from magnitude, wanda"):
        method_named(name)  # type: ignore[arg-type]
