"""A run in short: what is kept of it in the browser, and what may come back from there. All of it is untrusted."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from components.display.names import is_reference
from components.request_checks import broken
from wanda_core.errors import Refused
from wanda_core.method.bits import TYPES
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import ORDERS, RECOVERIES

SCHEMA = 1
MOST_RUNS = 50
MOST_BYTES = 1_000_000
"""Of all runs together, in the browser and in an imported file."""
PLAIN = re.compile(r"[\w .,:+/()%@'-]{0,200}")
"""No markup: charts would render it."""
ID = re.compile(r"[0-9a-f]{8,64}")
NUMBERS = ("sparsity", "perplexity", "perplexity_low", "perplexity_high", "kl_to_dense", "top1_changed")
USUAL: dict[str, Any] = {"recovery": "none", "order": "none", "bits": 16}
WRONG = "this is no file of runs of Wanda Lab: choose one that was exported here"


@dataclass(frozen=True)
class Point:
    """One measured point."""

    method: str
    pattern: str | None
    sparsity: float | None
    perplexity: float | None
    perplexity_low: float | None = None
    perplexity_high: float | None = None
    kl_to_dense: float | None = None
    top1_changed: float | None = None
    recovery: str = "none"
    order: str = "none"
    bits: int = 16

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """A finished run."""

    id: str
    date: str
    source: str
    text: str
    """What was evaluated, in a few words."""
    evaluation_sha256: str
    """Of the evaluated windows: perplexities compare only where it is the same."""
    link: str
    """Query of the Lab that asks for it again."""
    points: tuple[Point, ...] = field(default_factory=tuple)
    note: str = ""

    @property
    def dense(self) -> float | None:
        return next(
            (point.perplexity for point in self.points if (point.method, point.bits) == ("dense", 16)), None
        )

    @property
    def name(self) -> str:
        return f"{self.source}, {self.date}" + (f": {self.note}" if self.note else "")


def as_json(runs: list[Run]) -> str:
    """What the browser keeps and an export holds."""
    return json.dumps({"schema": SCHEMA, "runs": [asdict(run) for run in runs]}, allow_nan=False)


def read_runs(text: object) -> list[Run]:
    """Runs out of a browser or an imported file, the newest first.

    Raises:
        Refused: it is too large, of another version, or holds what cannot be.
    """
    if not isinstance(text, str) or len(text) > MOST_BYTES:
        raise Refused(WRONG)
    try:
        content = json.loads(text or '{"schema": 1, "runs": []}')
        schema, runs = content["schema"], content["runs"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused(WRONG) from None
    if schema != SCHEMA:
        raise Refused(
            f"these runs were kept by another version of the lab ({str(schema)[:10]}): export them there again"
        )
    if not isinstance(runs, list) or len(runs) > MOST_RUNS:
        raise Refused(WRONG)
    return sorted((_run(run) for run in runs), key=lambda run: run.date, reverse=True)


def _run(run: Any) -> Run:
    words = ("date", "source", "text", "evaluation_sha256", "link", "note")
    if not isinstance(run, dict) or set(run) != {field.name for field in fields(Run)}:
        raise Refused(WRONG)
    if not isinstance(run["id"], str) or not ID.fullmatch(run["id"]):
        raise Refused(WRONG)
    for key in words:
        value, most = run[key], 2000 if key == "link" else 200
        if not isinstance(value, str) or len(value) > most or broken(value):
            raise Refused(WRONG)
        if key not in ("link", "note") and not PLAIN.fullmatch(value):
            raise Refused(WRONG)
    if not re.fullmatch(r"[\w=&%.,:+-]*", run["link"]):
        raise Refused(WRONG)
    points = run["points"]
    if not isinstance(points, list) or not 0 < len(points) <= 400:
        raise Refused(WRONG)
    said = {key: str(run[key]) for key in words}
    return Run(id=run["id"], points=tuple(_point(point) for point in points), **said)


def _point(point: Any) -> Point:
    if isinstance(point, dict):
        point = USUAL | point  # runs that were kept before there were any
    if not isinstance(point, dict) or set(point) != {field.name for field in fields(Point)}:
        raise Refused(WRONG)
    method, pattern = point["method"], point["pattern"]
    if not isinstance(method, str) or not PLAIN.fullmatch(method):
        raise Refused(WRONG)
    if method not in METHODS and not is_reference(point):
        raise Refused(WRONG)
    if not isinstance(point["recovery"], str) or point["recovery"] not in RECOVERIES:
        raise Refused(WRONG)
    if not isinstance(point["order"], str) or point["order"] not in ORDERS:
        raise Refused(WRONG)
    if type(point["bits"]) is not int or point["bits"] not in TYPES:
        raise Refused(WRONG)
    if pattern is not None and not (isinstance(pattern, str) and PLAIN.fullmatch(pattern)):
        raise Refused(WRONG)
    for key in NUMBERS:
        value = point[key]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value < 1e300):
            raise Refused(WRONG)
    if point["perplexity"] is not None and point["perplexity"] < 1:
        raise Refused(WRONG)
    if method in METHODS and point["sparsity"] is None:
        raise Refused(WRONG)
    return Point(**point)


def summary_of(run_id: str, protocol: dict[str, Any], rows: list[dict[str, Any]], link: str) -> Run:
    """A measured run in short; failed points are left out."""
    points = []
    for row in rows:
        kept: dict[str, Any] = {field.name: row.get(field.name) for field in fields(Point)}
        kept |= {key: row.get(key) or usual for key, usual in USUAL.items()}
        finite = all(kept[key] is None or 0 <= kept[key] < 1e300 for key in NUMBERS)
        if row.get("error") is None and kept["perplexity"] is not None and finite:
            points.append(Point(**kept))
    text = (
        f"first {protocol['windows']} windows of {protocol['eval_length']} tokens of {protocol['evaluation']}"
    )
    return Run(
        id=run_id,
        date=_plain(str(protocol.get("date", ""))),
        source=_plain(str(protocol["source"])),
        text=_plain(text),
        evaluation_sha256=str(protocol["evaluation_sha256"]),
        link=link,
        points=tuple(points[:400]),
    )


def _plain(text: str) -> str:
    """Without what `PLAIN` forbids."""
    return re.sub(r"[^\w .,:+/()%@'-]", " ", text)[:200]
