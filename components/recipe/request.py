"""What a visitor asks for in the panel, checked on the server: nothing a client sends is trusted."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from components.limits import LIMITS
from components.recipe.amounts import Amount, parse_amounts
from components.request_checks import broken, check_source, finite, whole
from components.uploads import Upload, read_upload
from components.workspace.focus import Focus
from components.workspace.model_facts import blocks_of
from components.workspace.setup import TEXTS, Setup
from wanda_core.errors import Refused
from wanda_core.method.allocations import Named, beta_range, most_beta, parse_allocation
from wanda_core.method.bits import TYPES
from wanda_core.method.recipe import ORDERS, RECOVERIES, Recipe

REVISION = re.compile(r"[\w./-]{1,100}")
WORD = re.compile(r"[\w. -]{0,100}")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Asked:
    """What the panel asks for: a model with its texts, and the points to measure on it."""

    setup: Setup
    recipes: tuple[Recipe, ...]
    """Each method at each amount, amounts in the panel's order, each in all the bits; then the N:M patterns in an order
    of channels, and then all of them with the recovery, where these are asked for."""
    seeds: tuple[int, ...]
    """Calibration windows are drawn once for each."""


def check_panel(values: Mapping[str, object], sources: Sequence[str]) -> Asked:
    """What the panel asks for, from what its controls hold, by name.

    Args:
        sources: models offered beside those of the Hub.

    Raises:
        Refused: something is missing, of the wrong kind or over a limit; says what to change.
    """
    setup, seeds = check_setup(values, sources)
    amounts = check_amounts(values.get("amounts"), values.get("other_amounts"))
    methods = _words(values.get("methods"), "choose at least one method")
    recovery = _one_of("{recovery}", values.get("recovery", "none"), RECOVERIES)
    # What a recovery gains shows beside the same points without it, which take a fraction of its time.
    recoveries = dict.fromkeys(("none", recovery))
    order = _one_of("{order}", values.get("order", "none"), ORDERS)
    patterns = [amount for amount in amounts if amount.sparsity is None]
    if order != "none" and not patterns:
        raise Refused("{order} needs an N:M pattern: choose 2:4 or 4:8, or leave the channels as they are")
    orders = [("none", amounts)] + [(order, patterns)] * (order != "none")
    bits = _bits(values.get("bits"))
    points = len(bits) * len(methods) * sum(len(each) for _, each in orders) * len(seeds) * len(recoveries)
    if points > LIMITS.points:
        raise Refused(f"these are {points} points, {LIMITS.points} are allowed here: choose fewer")
    if values.get("allocation") == "linear":
        check_beta(_beta(values), amounts, blocks_of(setup.source, setup.revision))
    recipes = tuple(
        recipe_of(method, amount, {**values, "recovery": each, "order": ordered, "bits": [width]}, setup.seed)
        for each in recoveries
        for ordered, asked in orders
        for amount in asked
        for method in methods
        for width in bits
    )
    return Asked(setup, recipes, seeds)


def check_setup(values: Mapping[str, object], sources: Sequence[str]) -> tuple[Setup, tuple[int, ...]]:
    """Model, texts and windows, and all seeds; the setup has the first.

    Raises:
        Refused: as `check_panel`.
    """
    calibration, evaluation = (_text(values.get(role)) for role in ("calibration", "evaluation"))
    chosen = {calibration, evaluation}
    if {"own", "file"} <= chosen:
        raise Refused(
            "choose either your own text or your file, not one for calibration and one for evaluation"
        )
    own = Upload("", "", "")
    if "file" in chosen:
        own = read_upload(values.get("text_file"))
    elif "own" in chosen:
        own = Upload("", _own_text(values.get("own_text")), "")
    dataset = split = column = ""
    if "dataset" in chosen:
        dataset = _dataset(values.get("dataset"))
        split, column = (_word(name, values.get(name)) for name in ("split", "column"))
    length = whole("{length}", values.get("length"), 16, LIMITS.length)
    most = LIMITS.tokens // length
    seeds = _seeds(values.get("seeds"))
    revision = values.get("revision") or None
    if revision is not None and not (isinstance(revision, str) and REVISION.fullmatch(revision)):
        raise Refused("{revision} is a branch, tag or commit of the Hub, such as main")
    chat = values.get("chat", False)
    if not isinstance(chat, bool):
        raise Refused("{chat} is either on or off")
    setup = Setup(
        source=check_source(values.get("source"), sources),
        calibration=calibration,
        evaluation=evaluation,
        own_text=own.text,
        own_name=own.name,
        own_conversations=own.conversations,
        dataset=dataset,
        split=split,
        column=column,
        chat=chat,
        samples=whole("{samples}", values.get("samples"), 1, most),
        length=length,
        windows=whole("{windows}", values.get("windows"), 1, most),
        seed=seeds[0],
        revision=revision,
        dtype=_one_of("{dtype}", values.get("dtype", "auto"), DTYPES),
    )
    return setup, seeds


def check_amounts(chips: object, other: object) -> list[Amount]:
    """The amounts of the chips and those typed, each once.

    Raises:
        Refused: there is none, or one is wrong.
    """
    chosen = [Amount.parse(chip) for chip in _words(chips or [], "")]
    if other is not None and not isinstance(other, str):
        raise Refused("type other amounts as a list, such as 55, 1:4, 6:8")
    amounts = list(dict.fromkeys([*chosen, *parse_amounts(other or "")]))
    if not amounts:
        raise Refused("choose how much to prune: at least one amount")
    return amounts


def recipe_of(method: str, amount: Amount, values: Mapping[str, object], seed: int) -> Recipe:
    """One method at one amount, under the panel's advanced settings.

    Raises:
        Refused: they do not go together.
    """
    group = values.get("group", "own")
    free = amount.pattern == "unstructured"
    allocation = _allocation(values, amount.sparsity) if free else "uniform"
    return Recipe(
        method=method,
        sparsity=amount.sparsity,
        pattern=amount.pattern,
        group=None if group == "own" or not free else _one_of("{group}", group, ("output", "layer", "input")),
        allocation=allocation,
        schedule=_one_of("{schedule}", values.get("schedule", "layer"), ("layer", "block", "dense")),
        recovery=_one_of("{recovery}", values.get("recovery", "none"), RECOVERIES),
        order=_one_of("{order}", values.get("order", "none"), ORDERS),
        bits=_bits(values.get("bits"))[0],
        seed=seed,
    )


def named_focus(words: str, values: Mapping[str, object], sources: Sequence[str]) -> Focus:
    """The point that words such as `wanda-50` or `wanda-2:4` name, on the panel's model and texts.

    Raises:
        Refused: they name none, or the panel's values are wrong.
    """
    method, _, amount = words.rpartition("-")
    setup, _ = check_setup(values, sources)
    return Focus(setup, recipe_of(method, Amount.parse(amount), values, setup.seed))


def check_beta(beta: float, amounts: Sequence[Amount], blocks: int | None) -> None:
    """Refuse a BETA out of the range that the amounts and the model's blocks leave; the engine does where these are not
    known yet."""
    tightest = tightest_amount(amounts)
    if tightest is None or blocks is None:
        return
    if beta > most_beta(tightest, blocks) * (1 + 1e-9):
        raise Refused(f"BETA must lie {beta_range(tightest, blocks)}: move its slider")


def tightest_amount(amounts: Sequence[Amount]) -> float | None:
    """Of the sparsities asked for, the one that leaves BETA the least room; N:M patterns have no allocation."""
    free = [amount.sparsity for amount in amounts if amount.sparsity is not None]
    return min(free, key=lambda sparsity: min(sparsity, 1 - sparsity), default=None)


def _beta(values: Mapping[str, object]) -> float:
    value = finite("BETA", values.get("beta"))
    if value <= 0:
        raise Refused("BETA must be a number above 0, such as 0.01")
    return value


def _allocation(values: Mapping[str, object], sparsity: float | None) -> str:
    """As a recipe says it: a name, `linear:BETA`, or the table of ratios by block."""
    choices = ("uniform", "owl", "linear", "sensitivity", "table")
    chosen = _one_of("{allocation}", values.get("allocation", "uniform"), choices)
    if chosen == "linear":
        return f"linear:{_beta(values)}"
    if chosen != "table":
        return chosen
    table = values.get("ratios")
    rows = table.get("data") if isinstance(table, Mapping) else table
    if not isinstance(rows, list) or not rows:
        raise Refused("the table of ratios is empty: fill in per cent for each block, or choose uniform")
    ratios = {}
    for number, row in enumerate(rows):
        block, percent = (row[0], row[1]) if isinstance(row, list) and len(row) >= 2 else (None, None)
        try:
            index, ratio = int(str(block)), float(str(percent)) / 100
        except ValueError:
            raise Refused(
                f"row {number + 1} of the table of ratios has a hole: give a block and its per cent"
            ) from None
        if index < 0 or not 0 <= ratio <= 1 or index in ratios:
            raise Refused(f"row {number + 1} of the table of ratios: a block once, with 0 to 100 per cent")
        ratios[index] = ratio
    mean = sum(ratios.values()) / len(ratios)
    if sparsity is not None and abs(mean - sparsity) > 0.005:
        raise Refused(
            f"the table of ratios has a mean of {mean:.1%}, not {sparsity:.1%}: adapt the table, or choose that amount"
        )
    return ",".join(f"{index}={ratio:g}" for index, ratio in sorted(ratios.items()))


def allocation_controls(words: str) -> dict[str, object]:
    """What the panel's controls hold for an allocation as recipes and the command line spell it.

    Raises:
        Refused: it is none.
    """
    found = parse_allocation(words)
    if not isinstance(found, Named):
        return {"allocation": "table", "ratios": [[block, 100 * ratio] for block, ratio in found.items()]}
    return {"allocation": found.name} | ({} if found.number is None else {"beta": found.number})


def _text(value: object) -> str:
    if not isinstance(value, str) or value not in TEXTS:
        raise Refused("choose a text from the list")
    return value


def _own_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refused("your own text is empty: paste some text, or choose another")
    if len(value) > LIMITS.text_characters:
        raise Refused(
            f"your text has {len(value):,} characters, {LIMITS.text_characters:,} are allowed: shorten it"
        )
    if broken(value):
        raise Refused("your text holds an invalid character (a broken emoji): paste it again")
    return value


def _dataset(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]{1,96}(/[\w.-]{1,96})?", value.strip()):
        raise Refused("give a data set of the Hub by its id, such as Salesforce/wikitext")
    return value.strip()


def _word(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise Refused(f"{{{name}}} is a short name, or empty")
    return value.strip()


def _words(value: object, missing: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Refused(missing or "choose from the list")
    if missing and not value:
        raise Refused(missing)
    if len(value) > LIMITS.points:
        raise Refused(f"choose at most {LIMITS.points}")
    return list(dict.fromkeys(value))


def _one_of(what: str, value: object, choices: Collection[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise Refused(f"{what} must be one of {', '.join(choices)}")
    return value


def _bits(value: object) -> tuple[int, ...]:
    """As the panel has them, `["16", "8"]`, the most first; 16 where none is chosen."""
    if not value and isinstance(value, list | tuple | None):
        return (16,)
    if not isinstance(value, list | tuple) or not all(str(each) in map(str, TYPES) for each in value):
        raise Refused(f"{{bits}} takes {', '.join(map(str, TYPES))}")
    return tuple(sorted({int(each) for each in value}, reverse=True))


def _seeds(value: object) -> tuple[int, ...]:
    """`0`, or several such as `0, 1, 2`."""
    parts = [part.strip() for part in str(value if value is not None else "").split(",") if part.strip()]
    if (
        not parts
        or len(parts) > 20
        or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts)
    ):
        raise Refused("Seeds takes whole numbers with commas between them, such as 0 or 0, 1, 2")
    return tuple(dict.fromkeys(int(part) for part in parts))
