"""Text files in every form, and what a call refuses with."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from wanda_core.errors import Refused


def refusal(call, *arguments) -> str:
    """The message with which `call` refuses: one line."""
    with pytest.raises(Refused) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def write(path: Path, content: str | bytes | pd.DataFrame) -> str:
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def json_lines(*rows: object) -> str:
    return "\n".join(json.dumps(row) for row in rows)
