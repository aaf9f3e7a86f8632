"""Amounts, as chips and as typed."""

from __future__ import annotations

import pytest

from components.recipe.amounts import CHIPS, Amount, parse_amounts
from wanda_core.errors import Refused


def test_every_chip_is_an_amount() -> None:
    assert [str(Amount.parse(chip)) for chip in CHIPS] == list(CHIPS)


def test_a_typed_list() -> None:
    assert parse_amounts(" 55, 1:4; 6:8 ,12.5%") == [
        Amount(0.55),
        Amount(None, "1:4"),
        Amount(None, "6:8"),
        Amount(0.125),
    ]
    assert parse_amounts("") == []


@pytest.mark.parametrize("text", ["5:4", "0:4", "4:4", "200", "abc", "-5", "1e2", "2:4:8", "½", "1" * 300])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(Refused, match="such as 55, 1:4, 6:8"):
        parse_amounts(text)
