"""What the status line says of a failure."""

from __future__ import annotations

import pytest
import torch

from components.display import status_line
from wanda_core.errors import Refused
from wanda_core.texts.windows import calibration_windows


def test_the_page_says_it_in_its_own_words() -> None:
    with pytest.raises(Refused) as refused:
        calibration_windows(torch.arange(100), 16, 256, seed=0)
    assert "lower samples or length" in str(refused.value)
    said = status_line.failed(refused.value)
    assert "Calibration windows or Tokens per window" in said
    assert "--" not in said
