"""Results as files that are whole at any moment."""

from __future__ import annotations

import os
from pathlib import Path

from wanda_core.errors import Refused
from wanda_core.stages import staged


def write_whole(file: Path, text: str) -> None:
    """Replace a file's content in one step, also while another thread does the same. A link stays, and what it leads to
    is replaced.

    Raises:
        Refused: it cannot be written.
    """
    try:
        place = Path(os.path.realpath(file))
        if place.is_symlink() or (place.exists() and not place.is_file()):
            raise Refused(f"{file} is no plain file: give another name")
        with staged(place, lambda stage: stage.touch(exist_ok=False)) as stage:
            stage.write_text(text, encoding="utf-8")
            stage.replace(place)
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"{file} cannot be written: {error}") from error
