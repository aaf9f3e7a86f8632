"""The job of a sweep: many points, cheapest first, and two references beside them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from components.jobs.job import Job, Progress, Put
from components.workspace.experiment import Subject, prepare
from components.workspace.measured_rows import keep_row, kept_row
from components.workspace.models import shared_model
from components.workspace.prunings import keep_pruning, kept_pruning
from components.workspace.setup import NOISE, TEXTS, Setup
from wanda_core.errors import Refused

TEXT_NAMES = {key: label.split(" (")[0] for key, label in TEXTS.items()} | {NOISE: "Random tokens"}


@dataclass
class Swept:
    """What a sweep has measured so far; also the content of a recorded one."""

    protocol: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of `tables.COLUMNS` and `tables.SWEPT`."""
    planned: int = 0
    """Points asked for, the dense model among them."""
    origin: str = "here"
    """`here`, `recorded` or `saved`."""
    asked: Sweep | None = None
    """The job that measures it here."""


@dataclass(frozen=True)
class Sweep(Job):
    """Measure every point of the axes, then the references."""

    setup: Setup
    points: tuple[Any, ...]
    """`wanda_core.experiments.points.Point`, the dense model first; their texts are keys of `TEXT_NAMES`."""
    int8: bool
    smaller: str
    """Source of a smaller dense model, or empty."""

    @property
    def gpu_seconds(self) -> float:
        return 30 + 15 * len(self.points)

    def compute(self, put: Put, stop: threading.Event) -> None:
        from wanda_core.experiments.baselines import int8_row, smaller_row
        from wanda_core.experiments.points import DENSE, Calibration, Point, blank
        from wanda_core.experiments.rows import SWEPT
        from wanda_core.experiments.sweep import sweep

        points = self.points
        subjects: dict[Calibration, Subject | Refused] = {}

        def subject_of(calibration: Calibration | None) -> Subject:
            if calibration is None:
                return subject
            if calibration not in subjects:
                drawn = {"samples": calibration.samples, "seed": calibration.seed}
                setup = replace(self.setup, calibration=calibration.text, **drawn)
                try:
                    subjects[calibration] = prepare(setup, lambda _: None)
                except Refused as error:
                    subjects[calibration] = error
            if isinstance(subjects[calibration], Refused):
                raise subjects[calibration]
            return subjects[calibration]

        def first_subject() -> Subject:
            """Of the first calibration whose text can be had: model and evaluation are the same under all."""
            refusals = []
            for calibration in dict.fromkeys(point.calibration for point in points if point.calibration):
                try:
                    return subject_of(calibration)
                except Refused as error:
                    refusals.append(error)
            raise refusals[0]

        def kept(point: Point) -> Any:
            try:
                return kept_pruning(subject_of(point.calibration), point.recipe)
            except Refused:  # its text cannot be had; the point will say so
                return None

        put(Progress("Loading the model and the texts", 0.0))
        subject = first_subject()
        swept = Swept(subject.protocol, [], len(points) + self.int8 + bool(self.smaller), asked=self)

        def on_progress(doing: str, share: float, where: str) -> None:
            said = f"Point {len(swept.rows) + 1} of {swept.planned}, {doing}: {where}"
            part = share / 2 + 0.5 * (not doing.startswith("pruning"))
            put(Progress(said, (len(swept.rows) + part) / swept.planned))

        def add(row: dict[str, Any]) -> None:
            swept.rows.append(row)
            put(replace(swept, rows=list(swept.rows)))

        def known() -> list[dict[str, Any]]:
            rows = []
            for point in points:
                try:
                    row = kept_row(subject_of(point.calibration), point.recipe)
                except Refused:
                    continue
                if row is not None:
                    text = point.calibration and point.calibration.text
                    rows.append(row | {"calibration": text})
            return rows

        for measured in sweep(
            subject.model,
            subject.windows,
            points,
            lambda calibration: subject_of(calibration).tokens,
            known=known(),
            kept=kept,
            on_progress=on_progress,
            stop=stop,
        ):
            row, point = measured.row, measured.point
            if row["error"] is None:
                plain = {key: value for key, value in row.items() if key not in SWEPT}
                keep_row(subject_of(point.calibration), point.recipe, plain)
            if measured.pruning is not None:
                keep_pruning(subject_of(point.calibration), measured.pruning)
            add(row | {"calibration": row["calibration"] and TEXT_NAMES[row["calibration"]]})

        def beside(doing: str) -> Any:
            return lambda share, where: put(
                Progress(f"{doing}: {where}", (len(swept.rows) + share) / swept.planned)
            )

        def add_reference(kind: str, measure: Callable[[], dict[str, Any]]) -> None:
            row = kept_row(subject, kind) or measure()
            if row["error"] is None:
                keep_row(subject, kind, row)
            add(row | {"calibration": None, "masks_differ": None})

        if self.int8:
            tell = beside("The same model in int8")
            add_reference("int8", lambda: int8_row(subject.model, subject.windows, tell, stop))
        if self.smaller:
            tell = beside(f"The smaller model {self.smaller}")
            tell(0.0, "loading")
            try:
                smaller = shared_model(self.smaller)
                add_reference(
                    smaller.fingerprint,
                    lambda: smaller_row(subject.model, subject.windows, smaller, tell, stop),
                )
            except Refused as error:
                row = blank(DENSE) | {"method": f"dense {self.smaller}", "error": str(error)}
                add(row | {"calibration": None, "masks_differ": None})
