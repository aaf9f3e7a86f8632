"""Results as files that are whole at any moment."""

from __future__ import annotations

import secrets
from pathlib import Path

from wanda_core.errors import Refused


def write_whole(file: Path, text: str) -> None:
    """Replace a file's content in one step, also while another thread does the same.

    Raises:
        Refused: it cannot be written.
    """
    stage = file.with_name(f".{file.name}.{secrets.token_hex(8)}.partial")
    try:
        stage.write_text(text, encoding="utf-8")
        stage.replace(file)
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}") from error
    finally:
        stage.unlink(missing_ok=True)
