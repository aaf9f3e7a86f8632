"""Sweeps as files: those that visitors save, and those that they open again."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from components.display.names import is_reference
from components.limits import LIMITS
from components.request_checks import broken
from components.sweep.job import Swept
from components.sweep.row_selection import tidy
from components.sweep.shown_sweeps import GALLERY
from wanda_core.errors import Refused
from wanda_core.method.methods import METHODS


def result_files(swept: Swept, key: str) -> tuple[str, str]:
    """The rows as CSV and JSON, as `compare` writes them, where the server may hand them out."""
    from wanda_core.atomic_write import write_whole
    from wanda_core.experiments.rows import to_csv, to_json

    folder = Path(get_upload_folder()) / "sweeps" / key
    _forget_old(folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    rows = tidy(swept.rows)
    write_whole(folder / "wanda-lab.csv", to_csv(rows))
    write_whole(folder / "wanda-lab.json", to_json(swept.protocol, rows))
    return str(folder / "wanda-lab.csv"), str(folder / "wanda-lab.json")


def _forget_old(folder: Path) -> None:
    """Drop files whose results are no longer kept; the recorded ones stay."""
    for each in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # another visitor's request does the same
            if each.name not in GALLERY and time.time() - each.stat().st_mtime > LIMITS.result_seconds:
                shutil.rmtree(each, ignore_errors=True)


SAVED_BYTES = 2_000_000


WORDS = (
    "method",
    "pattern",
    "group",
    "allocation",
    "schedule",
    "recovery",
    "order",
    "evaluation_sha256",
    "calibration",
    "error",
)
"""Columns that hold words; all others hold numbers."""


PLAIN = re.compile(r"[\w .,:+/()%-]{1,200}")
"""No markup: charts would render it."""


WRONG = "this is no saved sweep of Wanda Lab: choose the JSON file that was downloaded here"


UPLOAD = re.compile(r"[0-9a-f]{64}")
"""Gradio puts an upload into a folder named by its content; what lies elsewhere is no upload."""


PROTOCOL = {
    "source": str,
    "calibration": str,
    "evaluation": str,
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


def saved_sweep(file: object) -> Swept:
    """A sweep or comparison from the JSON file that was saved of it; the upload is deleted.

    Raises:
        Refused: the file is none, is too large, or holds values that cannot be.
    """
    path = Path(str(file))
    if not path.is_file():
        raise Refused("the file is no longer there: open it again")
    try:
        return _read(path)
    finally:
        place, uploads = path.resolve(), Path(get_upload_folder()).resolve()
        if place.parents[1] == uploads and UPLOAD.fullmatch(place.parent.name):
            place.unlink(missing_ok=True)


def _read(path: Path) -> Swept:
    from wanda_core.experiments.rows import load_json

    wrong = Refused(WRONG)
    if path.stat().st_size > SAVED_BYTES:
        raise wrong
    try:
        protocol, rows = load_json(path)
    except (Refused, RecursionError):
        raise wrong from None
    if any(not isinstance(row["error"], str | None) or broken(row["error"] or "") for row in rows):
        raise wrong
    if not rows or len(rows) > 2000 or not all(_sound(row) for row in rows):
        raise wrong
    if not all(isinstance(protocol.get(key), kind) for key, kind in PROTOCOL.items()):
        raise wrong
    for value in protocol.values():
        if isinstance(value, dict | list) or len(str(value)) > 300 or broken(str(value)):
            raise wrong
    swept = [{"calibration": None, "masks_differ": None} | row for row in rows]
    return Swept(protocol, swept, len(rows), origin="saved")


def _sound(row: dict[str, Any]) -> bool:
    """Every value of the kind that its column has, and words that can be shown in a chart."""
    for column, value in row.items():
        if column in WORDS:
            good = value is None or (isinstance(value, str) and PLAIN.fullmatch(value))
        elif column == "window_losses":
            good = value is None or (
                isinstance(value, list) and all(isinstance(loss, float) for loss in value)
            )
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            good = value is None or (number and 0 <= value < 1e300)
        if not good and column != "error":  # which is escaped
            return False
    if row["method"] is None or row["sparsity"] is None or (row["perplexity"] or 1) < 1:
        return False
    if row["perplexity"] is not None and row["sparsity_reached"] is None:
        return False
    return is_reference(row) or (
        row["method"] in METHODS and row["pattern"] is not None and row["samples"] is not None
    )
