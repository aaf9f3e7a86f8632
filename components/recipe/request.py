"""What a visitor asks for, checked on the server: nothing a client sends is trusted."""

from __future__ import annotations

from collections.abc import Sequence

from components.limits import LIMITS
from components.request_checks import broken, check_source, whole
from components.workspace.setup import TEXTS, Setup
from wanda_core.errors import Refused
from wanda_core.method.recipe import Recipe

PATTERNS = ("unstructured", "2:4", "4:8")


MOST_BESIDE = 3
"""Methods beside the dense model where each has a column; more cannot be read side by side."""


def check_panel(
    source: object,
    known_sources: Sequence[str],
    calibration: object,
    evaluation: object,
    own_text: object,
    methods: object,
    percent: object,
    pattern: object,
    samples: object,
    length: object,
    windows: object,
    schedule: object,
    seed: object,
) -> tuple[Setup, tuple[Recipe, ...]]:
    """What the recipe panel asks for, from what the page sends.

    Args:
        known_sources: models offered beside those of the Hub.
        percent: sparsity, 0 to 100.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    for text in (calibration, evaluation):
        if not isinstance(text, str) or text not in TEXTS:
            raise Refused("choose a text from the list")
    own = ""
    if "own" in (calibration, evaluation):
        if not isinstance(own_text, str) or not own_text.strip():
            raise Refused("your own text is empty: paste some text, or choose another")
        own = own_text
    if len(own) > LIMITS.text_characters:
        raise Refused(
            f"your text has {len(own):,} characters, {LIMITS.text_characters:,} are allowed: shorten it"
        )
    if broken(own):
        raise Refused("your text holds an invalid character (a broken emoji): paste it again")
    length = whole("Tokens per window", length, 16, LIMITS.length)
    most = LIMITS.tokens // length
    samples = whole("Calibration windows", samples, 1, most)
    windows = whole("Evaluation windows", windows, 1, most)
    seed = whole("Seed", seed, 0, 2**31 - 1)
    setup = Setup(
        source=check_source(source, known_sources),
        calibration=calibration,
        evaluation=evaluation,
        own_text=own,
        samples=samples,
        length=length,
        windows=windows,
        eval_length=length,
        seed=seed,
    )
    return setup, _recipes(methods, percent, pattern, schedule, seed)


def check_beside(sources: Sequence[str], source: object, *panel: object) -> tuple[Setup, tuple[Recipe, ...]]:
    """What the recipe panel asks for, where no more than `MOST_BESIDE` methods are shown.

    Raises:
        Refused: as `check_panel`, or there are more methods.
    """
    setup, recipes = check_panel(source, sources, *panel)
    if len(recipes) > MOST_BESIDE:
        raise Refused(f"{MOST_BESIDE} methods fit beside the dense model: choose at most that many")
    return setup, recipes


def _recipes(
    methods: object, percent: object, pattern: object, schedule: object, seed: int
) -> tuple[Recipe, ...]:
    if not isinstance(methods, list) or not methods:
        raise Refused("choose at least one method")
    if len(methods) > LIMITS.points or not all(isinstance(method, str) for method in methods):
        raise Refused(f"choose at most {LIMITS.points} methods")
    if not isinstance(pattern, str) or not isinstance(schedule, str):
        raise Refused("choose pattern and schedule from their lists")
    if pattern == "unstructured":
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            raise Refused("Sparsity must be a number between 0 and 100%")
        sparsity = round(percent / 100, 6)
    else:
        sparsity = None
    return tuple(
        Recipe(method=method, sparsity=sparsity, pattern=pattern, schedule=schedule, seed=seed)
        for method in dict.fromkeys(methods)
    )
