"""What the view How far is asked for, checked on the server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from components import far_tables
from components.job import Setup, broken, check_panel, check_source, whole
from components.settings import LIMITS
from components.sweeping import TEXT_NAMES, Sweep, Swept
from components.words import is_reference
from wanda_core.errors import Refused
from wanda_core.methods import METHODS

SAVED_BYTES = 2_000_000
WORDS = ("method", "pattern", "group", "allocation", "schedule", "calibration", "error")
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


def check_sweep(sources: Sequence[str], source: object, *values: object) -> Sweep:
    """A sweep from what the page sends: the recipe panel's values, then the view's.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    from wanda_core.sweep import Axes

    panel, (percents, patterns, int8, samples, seeds, texts, smaller) = values[:-7], values[-7:]
    setup, recipes = check_panel(source, sources, *panel)
    if not isinstance(percents, list) or not isinstance(patterns, list) or not percents + patterns:
        raise Refused("choose at least one sparsity or pattern")
    if not all(isinstance(p, int) and not isinstance(p, bool) and 0 <= p <= 100 for p in percents):
        raise Refused("sparsities are whole numbers of per cent, 0 to 100")
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise Refused("choose the patterns from their list")
    if not isinstance(texts, list) or not all(isinstance(t, str) and t in TEXT_NAMES for t in texts):
        raise Refused("choose the texts from the list")
    if "own" in texts and not setup.own_text:
        raise Refused("your own text is not chosen on the left: choose it there first")
    if not isinstance(int8, bool) or not isinstance(smaller, str):
        raise Refused("int8 is either on or off, and the smaller model a name")
    most = LIMITS.tokens // setup.length
    axes = Axes(
        methods=tuple(dict.fromkeys(recipe.method for recipe in recipes)),
        sparsities=tuple(sorted({p / 100 for p in percents})),
        patterns=tuple(dict.fromkeys(patterns)),
        samples=_numbers("Calibration windows", samples, 1, most) or (setup.samples,),
        seeds=_numbers("Seeds", seeds, 0, 2**31 - 1) or (setup.seed,),
        texts=tuple(dict.fromkeys(texts)) or (setup.calibration,),
        schedule=recipes[0].schedule,
    )
    counted = len(axes.methods) * (len(axes.sparsities) + len(axes.patterns))
    counted *= len(axes.samples) * len(axes.seeds) * len(axes.texts)
    if counted > LIMITS.points * 2:
        raise Refused(f"these are {counted} points, {LIMITS.points * 2} are allowed here: choose fewer")
    smaller = smaller.strip()
    return Sweep(setup, tuple(axes.points()), int8, check_source(smaller, sources) if smaller else "")


def check_claims(sources: Sequence[str], source: object, *panel: object) -> Sweep:
    """The points that the paper's claims are judged by, on the panel's model and texts."""
    from wanda_core import claims
    from wanda_core.points import Calibration

    setup: Setup
    setup, _ = check_panel(source, sources, *panel)
    calibration = Calibration(max(2, setup.samples), setup.calibration, setup.seed)
    setup = replace(setup, samples=calibration.samples)
    return Sweep(setup, tuple(claims.points(calibration)), int8=False, smaller="")


def check_ends(swept: Swept, percent: float) -> Sweep:
    """The sweep that was shown, and for every method the whole per cent below which the budget ends.

    Raises:
        Refused: it was not measured here, or every end is a measured point.
    """
    from wanda_core.points import DENSE, Point
    from wanda_core.sweep import cheapest_first

    if swept.asked is None:
        raise Refused("what is shown was not measured here: press Sweep first, then this")
    points = [point for point in swept.asked.points if point.recipe]
    ends, more = far_tables.ends(swept, percent), []
    if not ends:
        raise Refused("a budget needs the dense model and points of unstructured sparsity: sweep those first")
    if all(end.beyond for end in ends.values()):
        raise Refused("all points are within the budget: sweep higher sparsities, or choose a smaller budget")
    for row in far_tables.of_first_calibration(swept.rows):
        if is_reference(row) or row["pattern"] != "unstructured" or row["method"] not in ends:
            continue
        end = ends.pop(row["method"])
        own = next(point for point in points if _is(point, row))
        below = Point(replace(own.recipe, sparsity=int(100 * end.sparsity + 1e-6) / 100), own.calibration)
        if not end.measured and below.recipe.sparsity and below not in points:
            more.append(below)
    if not more:
        raise Refused(
            "there is nothing to measure: every method ends within 1% of a measured point, or beyond all"
        )
    return replace(swept.asked, points=(DENSE, *cheapest_first([*points, *more])))


def _is(point: Any, row: dict[str, Any]) -> bool:
    """Whether a row is that of the point."""
    recipe, calibration = point.recipe, point.calibration
    return (recipe.method, recipe.sparsity, recipe.pattern, calibration.samples, recipe.seed) == (
        row["method"], row["sparsity"], row["pattern"], row["samples"], row["seed"]
    ) and TEXT_NAMES[calibration.text] == row["calibration"]  # fmt: skip


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
    from wanda_core.tables import load_json

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


def _numbers(what: str, text: object, least: int, most: int) -> tuple[int, ...]:
    """Whole numbers from a list such as `1, 4, 16`."""
    if not isinstance(text, str) or len(text) > 200:
        raise Refused(f"{what}: give whole numbers with commas between them, such as 1, 4, 16")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        raise Refused(f"{what}: give whole numbers with commas between them, such as 1, 4, 16")
    return tuple(dict.fromkeys(whole(what, int(part), least, most) for part in parts))
