"""What is installed from elsewhere: within bounds, so that a new major version is chosen here and not met by chance."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.support.server import ROOT

REQUIREMENTS = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines()]


@pytest.mark.parametrize("each", REQUIREMENTS, ids=lambda each: each.name)
def test_the_bounds_hold_what_is_tested_and_end_before_the_next_major_version(each: Requirement) -> None:
    tested = version(each.name)
    assert each.specifier.contains(tested)
    assert not each.specifier.contains(f"{int(tested.split('.')[0]) + 1}.0")
