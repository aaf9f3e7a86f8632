"""What Cost is asked for, checked on the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from components.cost.budget import limits
from components.cost.job import Measure, points_of
from components.cost.outcome import Outcome
from components.limits import LIMITS
from components.recipe.request import check_panel
from components.request_checks import check_source, finite, whole
from components.workspace.defaults import DEFAULTS, default_text
from components.workspace.focus import Focus
from components.workspace.setup import TEXT_NAMES
from wanda_core.errors import Refused
from wanda_core.experiments import paper_claims
from wanda_core.experiments.points import DENSE, Calibration, Point

MOST_PERCENT = 200
"""Of the budget."""


def check_measure(values: Mapping[str, object], sources: Sequence[str]) -> Measure:
    """The panel's points, and the references beside them.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    asked = check_panel(values, sources)
    int8, smaller = values.get("int8", False), values.get("smaller") or ""
    if not isinstance(int8, bool) or not isinstance(smaller, str):
        raise Refused("int8 is either on or off, and the smaller model a name")
    smaller = smaller.strip()
    return Measure(
        asked.setup,
        points_of(asked.setup, asked.recipes, asked.seeds),
        int8,
        check_source(smaller, sources) if smaller else "",
    )


def default_measure(source: str) -> Measure:
    """What Run measures before anybody touched a control: also what is recorded."""
    text = default_text(source)
    return check_measure(
        {**DEFAULTS, **_lists(), "source": source, "calibration": text, "evaluation": text}, [source]
    )


def _lists() -> dict[str, object]:
    return {name: list(DEFAULTS[name]) for name in ("amounts", "methods", "bits")}


def check_sensitivity(values: Mapping[str, object], sources: Sequence[str]) -> Measure:
    """The point in focus on several calibrations.

    Raises:
        Refused: as `check_measure`.
    """
    focus = values.get("focus")
    if not isinstance(focus, Focus):
        raise Refused("choose a point first: click one in the chart or the table")
    if focus.setup.source != check_source(values.get("source"), sources):
        raise Refused("the point in focus is of another model: press Run first")
    setup, recipe = focus.setup, focus.recipe
    most = LIMITS.tokens // setup.length
    samples = _numbers("Numbers of calibration windows", values.get("tried_samples"), 1, most) or (
        setup.samples,
    )
    seeds = _numbers("Seeds", values.get("tried_seeds"), 0, 2**31 - 1) or (setup.seed,)
    texts = values.get("tried_texts") or [setup.calibration]
    if not isinstance(texts, list) or not all(isinstance(text, str) and text in TEXT_NAMES for text in texts):
        raise Refused("choose the texts from the list")
    if any(text in ("own", "file", "dataset") and text != setup.calibration for text in texts):
        raise Refused(
            "your own text is not what the point in focus is calibrated on: choose it in the panel, then Run"
        )
    tried = [Calibration(n, text, seed) for text in dict.fromkeys(texts) for n in samples for seed in seeds]
    if len(tried) < 2:
        raise Refused("this is one calibration: give several windows, seeds or texts to compare")
    if len(tried) > LIMITS.points:
        raise Refused(f"these are {len(tried)} points, {LIMITS.points} are allowed here: choose fewer")
    points = [Point(replace(recipe, seed=calibration.seed), calibration) for calibration in tried]
    return Measure(setup, (DENSE, *points))


def check_claims(values: Mapping[str, object], sources: Sequence[str]) -> Measure:
    """The points that the paper's claims are judged by, on the panel's model and texts.

    Raises:
        Refused: as `check_measure`.
    """
    setup = check_panel(values, sources).setup
    calibration = Calibration(max(2, setup.samples), setup.calibration, setup.seed)
    return Measure(replace(setup, samples=calibration.samples), tuple(paper_claims.points(calibration)))


def check_limits(outcome: Outcome, percent: float, asked: Measure) -> list[str]:
    """The per cents, as the panel's "other amounts" takes them, at which the methods reach the budget's limit.

    Args:
        asked: what the panel would measure now.

    Raises:
        Refused: there is nothing to measure.
    """
    if outcome.asked is None:
        raise Refused("this is a saved file: press Run to measure on this machine first")
    if asked.setup != outcome.asked.setup:
        raise Refused("the panel's settings are others than this run's: press Run first")
    found = limits(outcome, percent)
    if not found:
        raise Refused("a budget needs the dense model and unstructured amounts: measure those first")
    if all(limit.beyond for limit in found.values()):
        raise Refused("every measured point is within the budget: choose higher amounts or a smaller budget")
    measured = {point.recipe.sparsity for point in asked.points if point.recipe}
    ends = {int(100 * limit.sparsity + 1e-6) for limit in found.values() if not limit.measured}
    more = sorted(end for end in ends if end and end / 100 not in measured)
    if not more:
        raise Refused(
            "there is nothing to measure: the limit is within 1% of a measured point, or beyond all of them"
        )
    return [str(end) for end in more]


def check_budget(percent: object) -> float:
    """The budget in per cent above the dense model's perplexity."""
    value = finite("The budget", percent)
    if not 0 < value <= MOST_PERCENT:
        raise Refused(f"the budget is a number of per cent, above 0 and up to {MOST_PERCENT}")
    return float(value)


def _numbers(what: str, text: object, least: int, most: int) -> tuple[int, ...]:
    """Whole numbers from a list such as `1, 4, 16`."""
    if text is not None and (not isinstance(text, str) or len(text) > 200):
        raise Refused(f"{what}: give whole numbers with commas between them, such as 1, 4, 16")
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        raise Refused(f"{what}: give whole numbers with commas between them, such as 1, 4, 16")
    return tuple(dict.fromkeys(whole(what, int(part), least, most) for part in parts))
