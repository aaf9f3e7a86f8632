"""What the attacks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.attack_table import PROPERTY


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`tried("hostile files", 3)`: so many more attempts, one where left out, for the table at the end. They count as
    passed where the test passes."""

    def count(kind: str, number: int = 1) -> None:
        request.node.user_properties.append((PROPERTY, (kind, number)))

    return count
