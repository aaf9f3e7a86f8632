"""Where the measured points lie in the chart of bytes: what each takes and what it loses, of one model or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.cost.files import plain_name
from components.cost.kept import shown
from components.cost.outcome import Group, Outcome, Row, groups
from components.display.names import contender, is_reference, point
from wanda_core.errors import Refused
from wanda_core.experiments.front import Bought, bits_per_byte
from wanda_core.models.named_sources import gguf_file_of

OWN_FILE = "Dense, its own GGUF file"
MOST_ADDED = 2
"""Models that are drawn beside the one that is shown: more marks cannot be told apart."""
MOST_POINTS = 200
"""Of an added model."""

Ends = tuple[float, float] | None


@dataclass(frozen=True)
class Place(Bought):
    """A point with what is drawn of it."""

    row: Row
    perplexity: float
    ends: Ends
    """95% interval of the perplexity."""
    group: Group | None
    """None for the dense model."""
    bits: float | None
    """Per byte of text; None where the measurement does not tell how long its tokens are."""
    model: str = ""
    """Of another model: its name."""

    @property
    def curve(self) -> str:
        """What was pruned and how, whatever its bits."""
        return contender(self.row | {"bits": 16})


def places(outcome: Outcome, kind: str, per_byte: bool = False, model: str = "") -> list[Place]:
    """The dense model, the same in fewer bits, the file that it came from, and every pruned point whose bytes were
    measured.

    Args:
        kind: of bytes, as in the columns `bytes_...`.
        per_byte: they lose bits per byte of text; else perplexity.
        model: named in front of them, where they are of another model.
    """
    column = f"bytes_{kind}"
    dense = outcome.dense
    if dense is None or not dense.get(column):
        return []
    found: list[Place] = []

    length = outcome.protocol.get("bytes_per_token")
    if per_byte and length is None:
        return []

    def add(
        label: str, size: float, perplexity: float, row: Row, ends: Ends = None, group: Group | None = None
    ) -> None:
        bits = bits_per_byte(perplexity, length)
        named = f"{model}: {label}" if model else label
        loss = bits if per_byte and bits is not None else perplexity
        found.append(Place(named, round(size), loss, row, perplexity, ends, group, bits, model))

    for row in (dense, *(row for row in outcome.rows if is_reference(row) and row is not dense)):
        if row.get(column) and row["perplexity"]:
            ends = (row["perplexity_low"], row["perplexity_high"]) if row["perplexity_low"] else None
            add(point(row), row[column], row["perplexity"], row, ends)
    setup = outcome.asked.setup if outcome.asked else None
    file = gguf_file_of(setup.source) if setup and outcome.origin == "here" else None
    if file is not None and file.is_file():
        add(OWN_FILE, file.stat().st_size, dense["perplexity"], dense)
    for group in groups(outcome.rows):
        size = group.mean(column)
        if size and group.perplexity is not None:
            add(point(group.first), size, group.perplexity, group.first, group.ends, group)
    return found


def size_of(place: Place, kind: str) -> float | None:
    """Bytes of another kind."""
    if place.label.endswith(OWN_FILE):
        return place.bytes
    column = f"bytes_{kind}"
    return place.group.mean(column) if place.group else place.row.get(column)


def why_not_beside(outcome: Outcome, other: Outcome, kind: str) -> str:
    """Why another measurement cannot be drawn beside what is shown; empty where it can."""
    theirs, ours = other.protocol, outcome.protocol
    if theirs.get("bytes_per_token") is None:
        return "it was measured before bits per byte were: measure it again, and save that"
    if ours.get("bytes_per_token") is None:
        return "what is shown was measured before bits per byte were: press Run"
    same_windows = theirs["evaluation_sha256"] == ours["evaluation_sha256"]
    own = ours["evaluation"] == "your own text"
    if theirs["evaluation"] != ours["evaluation"] or (own and not same_windows):
        texts = f"{theirs['evaluation']}, this one on {ours['evaluation']}"
        return f"it was measured on {texts}: bits per byte compare on one text only"
    for key in ("windows", "eval_length"):
        if theirs[key] != ours[key]:
            return f"it was measured on {_windows(theirs)}, this one on {_windows(ours)}: longer windows cost less"
    if not places(other, kind, per_byte=True):
        return "it was measured without these bytes of its weights: measure it again"
    return ""


def check_other(outcome: Outcome, others: Sequence[Outcome]) -> None:
    """Refuse what cannot be drawn beside what is shown.

    Args:
        outcome: what is shown.
        others: what is drawn beside it so far, then what is to be added.
    """
    added = others[-1]
    if len(others) > MOST_ADDED:
        raise Refused(f"{MOST_ADDED} models are drawn beside this one already: remove them first")
    if len(added.rows) > MOST_POINTS:
        raise Refused(f"it holds {len(added.rows)} points, at most {MOST_POINTS} are drawn")
    if reason := why_not_beside(outcome, added, "packed"):
        raise Refused(reason)
    if any(_same(added, other) for other in (outcome, *others[:-1])):
        raise Refused(f"{plain_name(added)} is drawn already")


def _same(one: Outcome, other: Outcome) -> bool:
    """Whether two measurements are one."""
    pairs = [(each.protocol["source"], [row["perplexity"] for row in each.rows]) for each in (one, other)]
    return pairs[0] == pairs[1]


def names_of(others: Sequence[Outcome]) -> list[str]:
    """A name for each added model, no two alike."""
    found: list[str] = []
    for other in others:
        plain = plain_name(other)
        found.append(plain if plain not in found else f"{plain} ({len(found) + 1})")
    return found


def told(other: Outcome, name: str) -> str:
    """How an added model was measured, as its file says."""
    protocol = other.protocol
    return (
        f"{name}: {_windows(protocol)} of {protocol['evaluation']}, {protocol['device']}, {protocol['date']}"
    )


def _windows(protocol: dict[str, Any]) -> str:
    return f"{protocol['windows']} windows of {protocol['eval_length']} tokens"


def beside(runs: object) -> list[Outcome]:
    """The measurements that were added, as far as they are still kept."""
    found = []
    for run in runs if isinstance(runs, list) else []:
        try:
            outcome = shown(run)
        except Refused:
            continue
        if outcome is not None:
            found.append(outcome)
    return found
