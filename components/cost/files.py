"""Results as files: those that visitors download, and saved ones that they open again."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from components.cost.outcome import Outcome
from components.display.html import model_name
from components.display.names import is_reference
from components.limits import LIMITS
from components.request_checks import broken
from components.uploads import uploaded
from wanda_core.atomic_write import write_whole
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS

SAVED_BYTES = 2_000_000
MOST_ROWS = 2000
MOST_TOKEN_BYTES = 1000
"""Of text that a token may stand for, on average."""
ERROR_CHARACTERS = 500
"""Of a saved row's error that are kept."""
PLAIN = re.compile(r"[\w .,:+/()%=-]{0,300}")
"""No markup: charts would render it."""
MOST_FILES = 1000
FILES_BYTES = 100_000_000
"""Of all files that are kept for download: each saved file that is opened is a run of its own."""
WRONG = "this is no saved measurement of Wanda Lab: choose the JSON file that was downloaded here"
PROTOCOL = {
    "source": str,
    "calibration": str,
    "evaluation": str,
    "evaluation_sha256": str,
    "device": str,
    "dtype": str,
    "torch": str,
    "transformers": str,
    "date": str,
    "calibration_after": int,
    "seed": int,
    "samples": int,
    "length": int,
    "windows": int,
    "eval_length": int,
    "micro_batch": int,
    "threads": int,
}
"""What a saved file must say of how it was measured."""


def result_file(outcome: Outcome, kind: str) -> str:
    """The rows as the command line writes them, in a file that the server may hand out: written once for each state of
    a run, whoever asks.

    Args:
        kind: `csv` or `json`.
    """
    from wanda_core.experiments.rows import SWEPT, to_csv, to_json

    several = (
        len({(row.get("calibration"), row["samples"]) for row in outcome.rows if not is_reference(row)}) > 1
    )
    rows = outcome.rows
    if not several:
        rows = [{key: value for key, value in row.items() if key not in SWEPT} for row in rows]
    file = own_file(outcome, f"wanda-lab-{plain_name(outcome)}.{kind}")
    if not file.exists():
        write_whole(file, to_csv(rows) if kind == "csv" else to_json(outcome.protocol, rows))
    return str(file)


def own_file(outcome: Outcome, name: str) -> Path:
    """A place for a file of that name, of this state of a run; old ones of others are forgotten."""
    run = re.sub(r"\W+", "-", outcome.run)
    folder = Path(get_upload_folder()) / "wanda-lab-results" / f"{run}-{len(outcome.rows)}"
    with suppress(FileNotFoundError):  # another visitor's request does the same
        _make_room(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _make_room(folder: Path) -> None:
    """Delete other runs' folders that are past their time, then the oldest files of all until the rest is in bounds."""
    kept = []
    for each in folder.parent.iterdir() if folder.parent.is_dir() else ():
        if each != folder and time.time() - each.stat().st_mtime > LIMITS.result_seconds:
            shutil.rmtree(each, ignore_errors=True)
        else:
            kept += [(file.stat().st_mtime, file.stat().st_size, file) for file in each.iterdir()]
    total, count = sum(size for _, size, _ in kept), len(kept)
    for _, size, file in sorted(kept):
        if total < FILES_BYTES and count < MOST_FILES:
            return
        file.unlink(missing_ok=True)
        total, count = total - size, count - 1


def plain_name(outcome: Outcome) -> str:
    """The model's name, fit for a file's."""
    return re.sub(r"[^\w.-]+", "-", model_name(outcome.protocol))[:60] or "model"


def saved_outcome(file: object) -> Outcome:
    """A measurement from the JSON file that was saved of it; the upload is deleted.

    Raises:
        Refused: the file is none, is too large, or holds values that cannot be.
    """
    place = uploaded(file, (".json",))
    try:
        return read_saved(place)
    finally:
        place.unlink(missing_ok=True)


def read_saved(path: Path) -> Outcome:
    """
    Raises:
        Refused: as `saved_outcome`.
    """
    from wanda_core.experiments.rows import is_number, load_json

    wrong = Refused(WRONG)
    if path.stat().st_size > SAVED_BYTES:
        raise wrong
    try:
        protocol, rows = load_json(path)
    except (Refused, RecursionError):
        raise wrong from None
    if not rows or len(rows) > MOST_ROWS or not all(_sound(row) for row in rows):
        raise wrong
    for key, kind in PROTOCOL.items():
        value = protocol.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise wrong
        if isinstance(value, int) and abs(value) > 2**53:
            raise wrong
    for value in protocol.values():
        if isinstance(value, dict | list) or len(str(value)) > 300 or broken(str(value)):
            raise wrong
    length = protocol.get("bytes_per_token")  # earlier files lack it
    if length not in (None, 0) and not (is_number(length) and 0.01 <= length <= MOST_TOKEN_BYTES):
        raise wrong
    for row in rows:  # a text of megabytes would be kept with the rows
        row["error"] = row["error"] and row["error"][:ERROR_CHARACTERS]
    kept = [{"calibration": None, "masks_differ": None} | row for row in rows]
    return Outcome(protocol, kept, {}, len(kept), "saved")


def _sound(row: dict[str, Any]) -> bool:
    """Every value, which is of the kind that its column has, within what it can be, and words that can be shown in a
    chart."""
    from wanda_core.experiments.rows import WORDS

    for column, value in row.items():
        if value is None:
            continue
        if column == "error":  # which is escaped
            good = not broken(value)
        elif column == "window_losses":
            good = len(value) <= 100_000 and all(0 <= each < 1e4 for each in value)
        elif column in WORDS:
            good = bool(PLAIN.fullmatch(value))
        else:
            good = 0 <= value < 1e300
        if not good:
            return False
    if (
        row["method"] is None
        or row["sparsity"] is None
        or row["sparsity"] > 1
        or (row["sparsity_reached"] or 0) > 1
    ):
        return False
    if row["perplexity"] is not None and row["perplexity"] < 1 - 1e-9:
        return False  # the interval of few windows may begin below
    if row["perplexity"] is not None and row["sparsity_reached"] is None:
        return False
    known = row["method"] in METHODS and row["pattern"] is not None and row["samples"] is not None
    return is_reference(row) or known
