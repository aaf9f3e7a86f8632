"""The outcomes that pages show, by the run's name; the recorded ones; and what is told of them as files."""

from __future__ import annotations

import json
from functools import cache

from components.assets import ASSETS
from components.cache import Shelf
from components.cost.outcome import Outcome
from components.cost.request import default_measure
from components.workspace.defaults import POCKET, SMOLLM2, is_recorded
from wanda_core.errors import Refused
from wanda_core.experiments.rows import rows_of

RECORDED = ASSETS / "recorded"
_shown: Shelf[Outcome] = Shelf("shown")


def keep(outcome: Outcome) -> None:
    """Remember what a page shows: its slider and its clicks need the rows again."""
    if outcome.origin != "recorded":
        own = (
            4 * len(outcome.asked.setup.own_text + outcome.asked.setup.own_conversations)
            if outcome.asked
            else 0
        )
        words = sum(len(str(row["error"])) for row in outcome.rows)
        layers = sum(map(len, outcome.layers.values()))
        _shown.put(outcome.run, outcome, 2000 + 2500 * len(outcome.rows) + 400 * layers + 4 * words + own)


def recorded_of(source: object) -> Outcome | None:
    """The recorded measurement of a model by the default settings, if there is one."""
    name = SMOLLM2 if is_recorded(source) else POCKET if source == POCKET else None
    return _recorded(name, str(source)) if name else None


@cache
def _recorded(name: str, source: str) -> Outcome:
    content = json.loads((RECORDED / f"cost-{name}.json").read_text(encoding="utf-8"))
    layers = {int(index): reports for index, reports in content["layers"].items()}
    rows = rows_of(content)
    return Outcome(
        content["protocol"],
        rows,
        layers,
        len(rows),
        "recorded",
        f"recorded {source}",
        default_measure(source),
    )


@cache
def recorded_sweep(name: str) -> Outcome:
    """A recorded sweep of SmolLM2-135M-Instruct under a protocol of its own; see `record.SWEEPS`."""
    content = json.loads((RECORDED / f"sweep-{name}.json").read_text(encoding="utf-8"))
    rows = rows_of(content)
    return Outcome(content["protocol"], rows, {}, len(rows), "recorded", f"sweep {name}")


def shown(run: object) -> Outcome | None:
    """What a page shows; None where it shows nothing yet.

    Raises:
        Refused: it is no longer kept.
    """
    if not run:
        return None
    found = None
    if isinstance(run, str):
        found = recorded_of(run.removeprefix("recorded ")) if run.startswith("recorded ") else _shown.get(run)
    if found is None:
        raise Refused("these results are no longer kept: press Run again, or open a saved file")
    return found
