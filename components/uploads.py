"""A text file that a visitor uploaded: read once, bounded, and deleted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Upload:
    """What an uploaded file holds, as much of it as is allowed."""

    name: str
    text: str
    conversations: str
    """The same as a JSON list of lists of messages, where it holds conversations; else empty."""


def read_upload(file: object) -> Upload:
    """The text of an uploaded file.

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
        found = read_text(str(place), "calibration")
    except Refused as error:  # without the path that it has on the server
        raise Refused(error.text.replace(str(place), place.name[:80])) from error
    if broken(found.text):
        raise Refused(f"{place.name[:80]} holds an invalid character (a broken emoji)")
    text = found.text[: LIMITS.text_characters]
    return Upload(place.name[:80], text, _first(found.conversations, LIMITS.text_characters))


def _first(conversations: Sequence[Sequence[dict[str, str]]], characters: int) -> str:
    """As many of the first conversations as fit, as JSON; empty where there are none."""
    taken: list[Sequence[dict[str, str]]] = []
    for conversation in conversations:
        characters -= sum(len(message["content"]) for message in conversation)
        if characters < 0 and taken:
            break
        taken.append(conversation)
    return json.dumps(taken) if taken else ""
