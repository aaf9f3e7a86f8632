"""Where a text comes from: a file, a dataset of the Hub, or Python's own documentation."""

from __future__ import annotations

import glob
import hashlib
import platform
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from wanda_core.argument_checks import check_whole
from wanda_core.assets import ASSETS
from wanda_core.errors import Refused, Stopped
from wanda_core.texts.hub_datasets import (
    DATASETS,
    STREAM_CHARACTERS,
    quiet_load_dataset,
    read_dataset,
    refusal_of,
)
from wanda_core.texts.records import ACCEPTED, Joined, Messages, join_rows, refuse

FILES: dict[str, dict[str, Any] | None] = {
    ".txt": None,
    ".md": None,
    ".jsonl": {"path": "json"},
    # Otherwise a row that says "NA" is taken for a missing one, and ten thousand that say "1" for numbers.
    ".csv": {"path": "csv", "keep_default_na": False, "converters": {"text": str}},
    ".parquet": {"path": "parquet"},
}
"""File name endings, and how `datasets.load_dataset` reads them; None: plain text."""

UNPACKED = 8
"""Times its bytes that a compressed file's text may be long, where there is a limit."""


Role = Literal["calibration", "evaluation"]
"""What a text is for."""


@dataclass(frozen=True)
class Text:
    """A text and where it comes from."""

    name: str
    """Shown beside figures: file name, or dataset and split."""
    text: str
    source: str
    """Equal where two texts are the same, or one is the beginning of the other (streams of unlike length)."""
    conversations: tuple[Messages, ...] = ()
    """The same as messages, where the rows are conversations."""


def read_text(
    spec: str,
    role: Role,
    characters: int | None = None,
    *,
    most_bytes: int | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> Text:
    """Read the text that `spec` names.

    Args:
        spec: a .txt, .md, .jsonl, .csv or .parquet file, with `#column` behind it where it has several; `wikitext2`,
            `c4`, `pydoc` (Python's own documentation) or `stories` (pocket's), the last two without a network; or a
            dataset of the Hub as
            `owner/name[:config][@split][#column]`. A column of `messages` gives conversations.
        role: what the text is for; decides the split of a dataset that has several.
        characters: a streamed dataset (any but `wikitext2`) is read up to the document that brings the text
            to this many characters. None: `STREAM_CHARACTERS`. Everything else is read whole.
        most_bytes: refuse larger files.
        seconds: give up a dataset after so many; None: never.
        stop: set it from another thread to end with `Stopped` while a dataset is being read; needs `seconds`.

    Raises:
        Refused: there is no such text, it cannot be reached, it is not text, or too large.
        Stopped: `stop` was set.
    """
    if characters is not None:
        check_whole("characters", characters, 1)
    source = None
    try:
        if spec == "pydoc":
            from pydoc_data.topics import topics

            name = f"pydoc (Python {platform.python_version()})"
            joined = Joined("\n\n".join(topics[topic] for topic in sorted(topics)))
        elif spec == "stories":
            name = f"the built-in stories ({role} part)"
            joined = _read_file(ASSETS / "pocket" / f"{role}.txt", None, None)
        elif file := _file_of(spec):
            name, joined = file[0].name, _read_file(*file, most_bytes)
        else:
            most = None if most_bytes is None else UNPACKED * most_bytes
            name, joined, source = read_dataset(
                spec, role, characters or STREAM_CHARACTERS, most, seconds, stop
            )
    except (Refused, Stopped):
        raise
    except (
        Exception
    ) as error:  # through `datasets`, the Hub, pyarrow and pandas raise what has no common class
        raise refusal_of(spec, error) from error
    if "\0" in joined.text:
        raise refuse(f"{name} holds NUL characters, so it is binary or not UTF-8: save it as UTF-8 text")
    if not joined.text.strip():
        raise refuse(f"{name} holds no text: give {ACCEPTED}")
    # What is read whole is known by its content: a copy under another name is the same text.
    digest = "sha256:" + hashlib.sha256(joined.text.encode()).hexdigest()
    return Text(name, joined.text, source or digest, joined.conversations)


def _file_of(spec: str) -> tuple[Path, str | None] | None:
    """The file that is meant, and its column where one is named; None: no file is meant."""
    if not spec or spec in DATASETS:
        return None
    if Path(spec).exists() or Path(spec).suffix.lower() in FILES:
        return Path(spec), None
    file, mark, column = spec.rpartition("#")
    if mark and Path(file).suffix.lower() in FILES:
        return Path(file), column
    return None


def _read_file(path: Path, column: str | None, most_bytes: int | None) -> Joined:
    if path.is_dir():
        raise refuse(f"{path} is a folder: give a file in it")
    if not path.exists():
        raise refuse(f"there is no file {path}: give {ACCEPTED}")
    if path.suffix.lower() not in FILES or not path.is_file():
        raise refuse(f"{path} is no file that can be read as text: give {ACCEPTED}")
    size = path.stat().st_size
    if most_bytes is not None and size > most_bytes:
        raise refuse(
            f"{path.name} has {size / 1e6:,.1f} MB, at most {most_bytes / 1e6:,.1f} are read here: give a part of it"
        )
    how = FILES[path.suffix.lower()]
    if how is None or not size:  # without a byte there are no columns to look for either
        # utf-8-sig: Windows editors put a mark at the front that is no part of the text.
        return Joined(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    # Streamed, and the folder goes: no copy of a user's text stays behind in a cache.
    with TemporaryDirectory() as cache, quiet_load_dataset() as load_dataset:
        if path.suffix.lower() == ".parquet" and most_bytes is not None:
            # Few rows at a time: a word of megabytes is stored once for all the rows that hold it.
            how = {**how, "batch_size": 10}
        files = {"train": glob.escape(str(path.absolute()))}
        rows = load_dataset(**how, data_files=files, split="train", streaming=True, cache_dir=cache)
        return join_rows(rows, path.name, column, most=most_bytes and UNPACKED * most_bytes)
