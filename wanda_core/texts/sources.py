"""Text -> token windows: where the text comes from, and which windows of it are used."""

from __future__ import annotations

import glob
import hashlib
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from wanda_core.errors import Refused

if TYPE_CHECKING:
    pass
from wanda_core.argument_checks import check_whole

FILES: dict[str, dict[str, Any] | None] = {
    ".txt": None,
    ".md": None,
    ".jsonl": {"path": "json"},
    # Otherwise a row that says "NA" is taken for a missing one, and ten thousand that say "1" for numbers.
    ".csv": {"path": "csv", "keep_default_na": False, "converters": {"text": str}},
    ".parquet": {"path": "parquet"},
}
"""File name endings, and how `datasets.load_dataset` reads them; None: plain text."""

# The prefix: a local folder of the same name is never read in a dataset's place.
HUB = "hf://datasets/"


DATASETS: dict[str, dict[str, Any]] = {
    "wikitext2": {"path": HUB + "Salesforce/wikitext", "name": "wikitext-2-raw-v1", "streaming": False},
    "c4": {
        "path": HUB + "allenai/c4",
        # Of its configuration `en` the first files alone, as in the papers.
        "data_files": {
            "train": "en/c4-train.00000-of-01024.json.gz",
            "validation": "en/c4-validation.00000-of-00008.json.gz",
        },
        "streaming": True,
    },
}
"""Short names, as arguments of `datasets.load_dataset`. What is not streamed stays in its cache."""

SPLITS = {"calibration": ("train",), "evaluation": ("test", "validation", "train")}
"""Splits of a dataset to look for, best first."""


STREAM_CHARACTERS = 4_000_000
"""Read of a stream where the caller sets no bound: a million tokens of English; the papers use 262,144."""

_DATASET = re.compile(r"([a-z0-9][\w.-]*/[a-z0-9][\w.-]*)(?::([\w.-]+))?", re.ASCII | re.IGNORECASE)


_GIVE = "give a .txt, .md, .jsonl, .csv or .parquet file, wikitext2, c4, pydoc, or a Hub owner/name[:config]"


@dataclass(frozen=True)
class Text:
    """A text and where it comes from."""

    name: str
    """Shown beside figures: file name, or dataset and split."""
    text: str
    source: str
    """Equal where two texts are the same, or one is the beginning of the other (streams of unlike length)."""


def read_text(spec: str, role: Literal["calibration", "evaluation"], characters: int | None = None) -> Text:
    """Read the text that `spec` names.

    Args:
        spec: a .txt, .md, .jsonl, .csv or .parquet file; `wikitext2`, `c4` or `pydoc` (Python's own
            documentation: no network); or a dataset of the Hub as `owner/name` or `owner/name:config`.
        role: what the text is for; decides the split of a dataset that has several.
        characters: a streamed dataset (any but `wikitext2`) is read up to the document that brings the text
            to this many characters. None: `STREAM_CHARACTERS`. Everything else is read whole.

    Raises:
        Refused: there is no such text, it cannot be reached, or it is not text.
    """
    if characters is not None:
        check_whole("characters", characters, 1)
    source = None
    try:
        if spec == "pydoc":
            from pydoc_data.topics import topics

            name = f"pydoc (Python {platform.python_version()})"
            text = "\n\n".join(topics[topic] for topic in sorted(topics))
        elif spec and spec not in DATASETS and (Path(spec).exists() or Path(spec).suffix.lower() in FILES):
            name, text = Path(spec).name, _read_file(Path(spec))
        else:
            name, text, source = _read_dataset(spec, role, characters or STREAM_CHARACTERS)
    except Refused:
        raise
    except (
        Exception
    ) as error:  # through `datasets`, the Hub, pyarrow and pandas raise what has no common class
        raise _refusal(spec, error) from error
    if "\0" in text:
        raise _refuse(f"{name} holds NUL characters, so it is binary or not UTF-8: save it as UTF-8 text")
    if not text.strip():
        raise _refuse(f"{name} holds no text: {_GIVE}")
    # What is read whole is known by its content: a copy under another name is the same text.
    return Text(name, text, source or "sha256:" + hashlib.sha256(text.encode()).hexdigest())


def _refuse(message: str) -> Refused:
    """One line, also where the message quotes what others wrote."""
    return Refused(" ".join(message.split()))


def _read_file(path: Path) -> str:
    if path.is_dir():
        raise _refuse(f"{path} is a folder: give a file in it")
    if not path.exists():
        raise _refuse(f"there is no file {path}: {_GIVE}")
    if path.suffix.lower() not in FILES or not path.is_file():
        raise _refuse(f"{path} is no file that can be read as text: {_GIVE}")
    how = FILES[path.suffix.lower()]
    if how is None or not path.stat().st_size:  # without a byte there are no columns to look for either
        # utf-8-sig: Windows editors put a mark at the front that is no part of the text.
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    # Streamed, and the folder goes: no copy of a user's text stays behind in a cache.
    with TemporaryDirectory() as cache, quiet_load_dataset() as load_dataset:
        files = {"train": glob.escape(str(path.absolute()))}
        rows = load_dataset(**how, data_files=files, split="train", streaming=True, cache_dir=cache)
        return _join(rows, path.name)


def _read_dataset(spec: str, role: str, characters: int) -> tuple[str, str, str | None]:
    """Name, text and, of a stream, source."""
    how = DATASETS.get(spec)
    if how is None:
        parts = _DATASET.fullmatch(spec)
        if parts is None:
            raise _refuse(f"`{spec}` is neither a file nor the name of a dataset: {_GIVE}")
        how = {"path": HUB + parts[1], "name": parts[2], "streaming": True}
    with quiet_load_dataset() as load_dataset:
        splits = load_dataset(**how)
        split = next((wanted for wanted in SPLITS[role] if wanted in splits), None)
        if split is None:
            raise _refuse(f"{spec} has no split for {role}, only {', '.join(splits)}: {_GIVE}")
        name, rows = f"{spec} ({split})", splits[split]
        if not how["streaming"]:
            return name, _join(rows, name), None
        source = f"{how['path']}:{rows.info.config_name}:{split}".lower()
        return name, _join(rows, name, characters), source


def _join(rows: Iterable[dict[str, Any]], name: str, characters: int | None = None) -> str:
    """The text column's rows with a blank line between them, as GPTQ, SparseGPT and Wanda join WikiText-2."""
    remaining = iter(rows)
    head = list(islice(remaining, 100))
    if not head:
        return ""
    column = _text_column(head, name)
    texts: list[str] = []
    length = 0
    for number, row in enumerate(chain(head, remaining), start=1):
        text = row.get(column)
        if text is None:
            continue
        if not isinstance(text, str):
            raise _refuse(
                f"{name}: row {number:,} of the column `{column}` is not text: repair it, or name the column `text`"
            )
        length += len(text) + (2 if texts else 0)
        texts.append(text)
        if characters is not None and length >= characters:
            break
    return "\n\n".join(texts)


def _text_column(rows: list[dict[str, Any]], name: str) -> str:
    """`text`, else the only column of strings. By values: a streamed CSV does not know its columns' types."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    kinds = {column: {type(row.get(column)) for row in rows} - {type(None)} for column in columns}
    strings = [column for column in columns if kinds[column] == {str}]
    if "text" in strings:
        return "text"
    if len(strings) != 1:
        raise _refuse(f"{name} has no column `text` with text in it, but {', '.join(columns)}: {_GIVE}")
    return strings[0]


@contextmanager
def quiet_load_dataset() -> Iterator[Callable[..., Any]]:
    """`datasets.load_dataset` without bars and log lines: what goes wrong is said once, in what we raise."""
    import datasets  # slow to import, and plain text does without
    import huggingface_hub.utils as hub

    with ExitStack() as restore:
        for library in (datasets, hub):
            restore.callback(library.logging.set_verbosity, library.logging.get_verbosity())
            library.logging.set_verbosity(library.logging.CRITICAL)
            if not library.are_progress_bars_disabled():
                restore.callback(library.enable_progress_bars)
                library.disable_progress_bars()
        yield datasets.load_dataset


def _refusal(spec: str, error: Exception) -> Refused:
    """What to do about an error that reading `spec` ended in."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    # `datasets` raises one class for gated and for missing datasets, and hides some errors inside a message.
    if isinstance(error, GatedRepoError) or "is a gated dataset" in str(error):
        return _refuse(
            f"{spec} is gated: accept its terms on the Hub, and set HF_TOKEN or run `hf auth login`"
        )
    if isinstance(error, DatasetNotFoundError):
        return _refuse(f"the Hub shows no dataset {spec} (a private one needs HF_TOKEN): {_GIVE}")
    if isinstance(error, ConnectionError) or LocalEntryNotFoundError.__name__ in repr(error):
        return _refuse(
            f"the Hub cannot be reached for {spec}: give a local file, or `pydoc`: no network needed"
        )
    if isinstance(error, UnicodeDecodeError):
        return _refuse(f"{spec} is not UTF-8 text: save it as UTF-8")
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return _refuse(f"{spec} cannot be read ({reason}): repair it, or give another text")
