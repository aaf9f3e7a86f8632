"""A text file that a visitor uploaded: read once, bounded, and deleted."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gradio.utils import get_upload_folder

from components.limits import LIMITS
from components.request_checks import broken
from wanda_core.errors import Refused

KINDS = (".txt", ".md", ".jsonl", ".csv", ".parquet")
UPLOAD = re.compile(r"[0-9a-f]{64}")
"""Gradio puts an upload into a folder named by its content; what lies elsewhere is no upload."""
MOST_UPLOADS = 500
BROKEN_OFF_SECONDS = 600
"""After which a file that is not yet in a folder is what an upload left that broke off."""


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
        found = read_text(str(place), "calibration", most_bytes=LIMITS.request_bytes)
    except Refused as error:  # without the path that it has on the server
        raise Refused(error.text.replace(str(place), place.name[:80])) from error
    if broken(found.text):
        raise Refused(f"{place.name[:80]} holds an invalid character (a broken emoji)")
    text = found.text[: LIMITS.text_characters]
    return Upload(place.name[:80], text, _first(found.conversations, LIMITS.text_characters))


def make_room(needed: int) -> None:
    """Delete what broke off, then the oldest uploads, until so many bytes more fit under the cap."""
    folder = Path(get_upload_folder())
    found: list[tuple[float, int, Path]] = []
    for place in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # another request does the same
            if UPLOAD.fullmatch(place.name):
                size = sum(file.stat().st_size for file in place.iterdir())
            elif place.name.startswith("tmp") and place.is_file():
                size = place.stat().st_size
            else:
                continue
            found.append((place.stat().st_mtime, size, place))
    total, count = sum(size for _, size, _ in found), len(found)
    for changed, size, place in sorted(found):
        late = place.name.startswith("tmp") and time.time() - changed > BROKEN_OFF_SECONDS
        if late or total + needed > LIMITS.uploads_bytes or count >= MOST_UPLOADS:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
            total, count = total - size, count - 1


def _first(conversations: Sequence[Sequence[dict[str, str]]], characters: int) -> str:
    """As many of the first conversations as fit, as JSON; empty where there are none."""
    taken: list[Sequence[dict[str, str]]] = []
    for conversation in conversations:
        characters -= sum(len(message["content"]) for message in conversation)
        if characters < 0 and taken:
            break
        taken.append(conversation)
    return json.dumps(taken) if taken else ""
