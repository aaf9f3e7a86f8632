"""A text file that a visitor uploaded: read once, bounded, and deleted."""

from __future__ import annotations

import re
from pathlib import Path

from gradio.utils import get_upload_folder

from components.limits import LIMITS
from components.request_checks import broken
from wanda_core.errors import Refused

KINDS = (".txt", ".md", ".jsonl", ".csv", ".parquet")
UPLOAD = re.compile(r"[0-9a-f]{64}")
"""Gradio puts an upload into a folder named by its content; what lies elsewhere is no upload."""


def uploaded(file: object, kinds: tuple[str, ...]) -> Path:
    """The file behind what an upload control holds.

    Raises:
        Refused: there is none, it is gone, or of another kind.
    """
    path = file.get("path") if isinstance(file, dict) else file
    if not isinstance(path, str) or not path:
        raise Refused("choose a file first")
    place, uploads = Path(path).resolve(), Path(get_upload_folder()).resolve()
    if len(place.parents) < 2 or place.parents[1] != uploads or not UPLOAD.fullmatch(place.parent.name):
        raise Refused("choose a file first")  # not one that was uploaded here
    if not place.is_file():
        raise Refused("the file is no longer here: choose it again")
    if place.suffix.lower() not in kinds:
        raise Refused(f"{place.name[:80]} is of another kind: choose one of {', '.join(kinds)}")
    return place


def read_upload(file: object) -> tuple[str, str]:
    """The text of an uploaded file, and its name.

    Raises:
        Refused: it is missing, of the wrong kind, damaged, empty or too large.
    """
    from wanda_core.texts.sources import read_text

    place = uploaded(file, KINDS)
    if place.stat().st_size > LIMITS.request_bytes:
        raise Refused(
            f"{place.name[:80]} is larger than {LIMITS.request_bytes / 1e6:.0f} MB: choose a smaller file"
        )
    try:
        text = read_text(str(place), "calibration").text
    except Refused as error:  # without the path that it has on the server
        raise Refused(error.text.replace(str(place), place.name[:80])) from error
    if broken(text):
        raise Refused(f"{place.name[:80]} holds an invalid character (a broken emoji)")
    return text[: LIMITS.text_characters], place.name[:80]
