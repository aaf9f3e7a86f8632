"""What was found, in sentences. Whether one method is better follows from the interval of the paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.cost.outcome import Group, Outcome, Row, groups
from components.display.names import amount, contender, name
from components.display.number_format import number, times
from wanda_core.errors import Refused
from wanda_core.experiments.paired import Paired, compare_losses


def paired(one: Group, other: Group | Row) -> Paired | None:
    """Perplexity of the other over that of the one, with its interval; None where they share no windows or a row does
    not tell the losses of its windows."""
    row = other.first if isinstance(other, Group) else other
    losses = other.losses if isinstance(other, Group) else other.get("window_losses")
    if one.first.get("evaluation_sha256") != row.get("evaluation_sha256") or not one.losses or not losses:
        return None
    try:
        return compare_losses(one.losses, losses)
    except Refused:  # a broken model has no finite loss
        return None


def times_dense(group: Group, dense: Row | None) -> tuple[float, float | None, float | None] | None:
    """The group's perplexity over the dense model's, and the paired interval of that."""
    if dense is None or group.perplexity is None:
        return None
    found = paired(group, dense)
    if found is None or not found.ratio or not found.low or not found.high:
        return group.perplexity / dense["perplexity"], None, None
    return 1 / found.ratio, 1 / found.high, 1 / found.low


def verdict(outcome: Outcome) -> str:
    """A headline on the amount nearest to one half, and a line for each amount.

    Returns:
        HTML.
    """
    dense = outcome.dense
    if dense is None:
        over = outcome.rows and outcome.rows[0]["error"]
        return _headline(
            "The dense model could not be measured." if over else "Measuring the dense model first."
        )
    by_amount: dict[str, list[Group]] = {}
    for group in groups(outcome.rows):
        if group.perplexity is not None:
            by_amount.setdefault(amount(group.first), []).append(group)
    if not by_amount:
        return _headline(
            f"The dense model's perplexity is {number(dense['perplexity'])}. No pruned model is measured yet."
        )
    nearest = min(by_amount.values(), key=lambda alike: _from_half(alike[0].first))
    said = _headline(f"{_cost(nearest, dense)} {_better(nearest)}")
    others = [
        f"<li><b>{escape(key)}</b>: {_better(alike)}</li>"
        for key, alike in by_amount.items()
        if alike is not nearest
    ]
    others = [line for line in others if not line.endswith(": </li>")]
    return said + (f'<ul class="amounts">{"".join(others)}</ul>' if others else "")


def _headline(sentences: str) -> str:
    return f'<p class="verdict">{sentences}</p>'


def _from_half(row: Row) -> tuple[float, bool]:
    return abs(row["sparsity"] - 0.5), row["pattern"] != "unstructured"


def _cost(alike: Sequence[Group], dense: Row) -> str:
    """What pruning so much costs, by the best method, then the others."""
    best, *others = sorted(alike, key=lambda group: group.perplexity or 0)
    ratio = (best.perplexity or 0) / dense["perplexity"]
    verb = "raises" if ratio >= 1 else "lowers"
    said = (
        f"At {escape(amount(best.first))}, <b>{escape(name(contender(best.first)))}</b> {verb} perplexity from "
        f"{number(dense['perplexity'])} to {number(best.perplexity)} ({times(ratio)}&nbsp;×)."
    )
    if others:
        each = ", ".join(
            f"with {escape(name(contender(group.first)))} it is "
            f"{times((group.perplexity or 0) / dense['perplexity'])}&nbsp;×"
            for group in others
        )
        said += f" {each[:1].upper()}{each[1:]}."
    return said


def _better(alike: Sequence[Group]) -> str:
    """The best method against each other one, as far as this much text can tell."""
    best, *others = sorted(alike, key=lambda group: group.perplexity or 0)
    lower, alike_, untold = [], [], []
    for other in others:
        found = paired(best, other)
        their = escape(name(contender(other.first)))
        if found is None:
            untold.append(their)
        elif found.certain and found.low is not None and found.high is not None:
            lower.append(f"{their}'s {_by(found.low, found.high)}")
        else:
            alike_.append(their)
    own = escape(name(contender(best.first)))
    said = []
    if lower:
        said.append(f"{own}'s perplexity is lower than {_and(lower)}.")
    if alike_:
        said.append(f"{own} and {_and(alike_)}: no difference that this much text can show.")
    if untold:
        said.append(f"Whether {own} is better than {_and(untold)} was not measured window by window.")
    return " ".join(said)


def _by(low: float, high: float) -> str:
    """How much lower, from the interval of the ratio (above 1)."""
    if low >= 2:
        return f"by a factor of {times(low)} to {times(high)}"
    least, most = (100 * (1 - 1 / ratio) for ratio in (low, high))
    digits = 0 if round(least) and round(least) != round(most) else 1
    return f"by {least:.{digits}f} to {most:.{digits}f}%"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
