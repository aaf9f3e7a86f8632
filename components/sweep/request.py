"""What the view How far is asked for, checked on the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from components.display.names import is_reference
from components.limits import LIMITS
from components.recipe.request import check_panel
from components.request_checks import check_source, whole
from components.sweep import row_selection
from components.sweep.job import TEXT_NAMES, Sweep, Swept
from components.sweep.row_selection import of_first_calibration
from components.workspace.setup import Setup
from wanda_core.errors import Refused


def check_sweep(sources: Sequence[str], source: object, *values: object) -> Sweep:
    """A sweep from what the page sends: the recipe panel's values, then the view's.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    from wanda_core.experiments.sweep import Axes

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
    from wanda_core.experiments import paper_claims
    from wanda_core.experiments.points import Calibration

    setup: Setup
    setup, _ = check_panel(source, sources, *panel)
    calibration = Calibration(max(2, setup.samples), setup.calibration, setup.seed)
    setup = replace(setup, samples=calibration.samples)
    return Sweep(setup, tuple(paper_claims.points(calibration)), int8=False, smaller="")


def check_ends(swept: Swept, percent: float) -> Sweep:
    """The sweep that was shown, and for every method the whole per cent below which the budget ends.

    Raises:
        Refused: it was not measured here, or every end is a measured point.
    """
    from wanda_core.experiments.points import DENSE, Point
    from wanda_core.experiments.sweep import cheapest_first

    if swept.asked is None:
        raise Refused("what is shown was not measured here: press Sweep first, then this")
    points = [point for point in swept.asked.points if point.recipe]
    ends, more = row_selection.ends(swept, percent), []
    if not ends:
        raise Refused("a budget needs the dense model and points of unstructured sparsity: sweep those first")
    if all(end.beyond for end in ends.values()):
        raise Refused("all points are within the budget: sweep higher sparsities, or choose a smaller budget")
    for row in of_first_calibration(swept.rows):
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


def _numbers(what: str, text: object, least: int, most: int) -> tuple[int, ...]:
    """Whole numbers from a list such as `1, 4, 16`."""
    if not isinstance(text, str) or len(text) > 200:
        raise Refused(f"{what}: give whole numbers with commas between them, such as 1, 4, 16")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        raise Refused(f"{what}: give whole numbers with commas between them, such as 1, 4, 16")
    return tuple(dict.fromkeys(whole(what, int(part), least, most) for part in parts))
