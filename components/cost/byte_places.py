"""Where the measured points lie in the chart of bytes: what each takes and what it loses, of one model or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.cost.files import plain_name
from components.cost.kept import shown
from components.cost.outcome import Group, Outcome, Row, groups
from components.display.names import contender, is_reference, point
from wanda_core.errors import Refused
from wanda_core.experiments.front import Bought, bits_per_byte
from wanda_core.models.named_sources import gguf_file_of

OWN_FILE = "Dense, its own GGUF file"
MOST_ADDED = 4
"""Models that are drawn beside the one that is shown."""

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
    if per_byte and not length:
        return []

    def add(
        label: str, size: float, perplexity: float, row: Row, ends: Ends = None, group: Group | None = None
    ) -> None:
        bits = bits_per_byte(perplexity, length) if length else None
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


def check_other(outcome: Outcome, others: Sequence[Outcome]) -> None:
    """Refuse what cannot be drawn beside what is shown.

    Args:
        outcome: what is shown.
        others: what is drawn beside it so far, then what is to be added.
    """
    added = others[-1]
    name = plain_name(added)
    if len(others) > MOST_ADDED:
        raise Refused(f"{MOST_ADDED} models are drawn beside this one already: remove them first")
    if any(added.run != other.run and added.rows == other.rows for other in others):
        raise Refused(f"{name} is drawn already")
    if not added.protocol.get("bytes_per_token"):
        raise Refused(f"{name} was measured before bits per byte were: measure it again, and save that")
    if not outcome.protocol.get("bytes_per_token"):
        raise Refused("what is shown was measured before bits per byte were: press Run")
    theirs, ours = added.protocol["evaluation"], outcome.protocol["evaluation"]
    if theirs != ours:
        raise Refused(
            f"{name} was measured on {theirs}, this model on {ours}: bits per byte compare on one text only"
        )
    if not places(added, "packed", per_byte=True):
        raise Refused(f"{name} was measured without the bytes of its weights: measure it again")


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
