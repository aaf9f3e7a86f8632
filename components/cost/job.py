"""The job of Cost: the dense model, every point and the references beside them, each measured once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from components.cost.outcome import Outcome
from components.jobs.job import Event, Job, Progress, Put
from components.workspace.experiment import Subject, fetch, prepare
from components.workspace.measured_rows import dense_in, depends_on_seed, keep_row, kept_row
from components.workspace.models import shared_model
from components.workspace.pace import learn_from
from components.workspace.prunings import keep_pruning, kept_pruning
from components.workspace.setup import Setup
from wanda_core.errors import Refused
from wanda_core.experiments.points import DENSE, Calibration, Point, with_dense
from wanda_core.method.recipe import Recipe


@dataclass(frozen=True)
class Measure(Job):
    """Measure every point, then the references."""

    setup: Setup
    points: tuple[Point, ...]
    """The dense model first; their calibrations' texts are keys of `setup.TEXT_NAMES`."""
    int8: bool = False
    """The same model in int8 beside them."""
    smaller: str = ""
    """Source of a smaller dense model to measure beside them, or empty."""

    overdue: ClassVar[str] = "what was measured is kept, press Run again for the rest"

    @property
    def gpu_seconds(self) -> float:
        recovered = sum(point.recipe is not None and point.recipe.recovery != "none" for point in self.points)
        ordered = sum(point.recipe is not None and point.recipe.order != "none" for point in self.points)
        return 30 + 15 * len(self.points) + 30 * recovered + 10 * ordered

    @property
    def rows(self) -> int:
        return len(self.points) + self.int8 + bool(self.smaller)

    def fetch(self, put: Put) -> None:
        fetch(self.setup, put)
        for text in {point.calibration.text for point in self.points if point.calibration}:
            with suppress(Refused):  # the points of that text will say so, the others go on
                fetch(replace(self.setup, calibration=text), put)

    def compute(self, put: Put, stop: threading.Event) -> None:
        _Run(self, put, stop).measure()


def points_of(setup: Setup, recipes: Iterable[Recipe], seeds: Sequence[int]) -> tuple[Point, ...]:
    """The dense model, also in the recipes' bits, then every recipe on the calibration windows of every seed; what does
    not depend on the seed is one point."""
    found: dict[Point, None] = {}
    for recipe in recipes:
        for seed in seeds if depends_on_seed(recipe) else seeds[:1]:
            calibration = Calibration(setup.samples, setup.calibration, seed)
            found[Point(replace(recipe, seed=seed), calibration)] = None
    return tuple(with_dense(found))


def known_by(point: Point) -> Recipe | str | None:
    """What a point's row is kept by: its recipe, or what the dense model was rounded to."""
    return point.recipe or dense_in(point.bits)


class _Run:
    """One run of the job."""

    def __init__(self, job: Measure, put: Put, stop: threading.Event) -> None:
        self.job = job
        self.put = put
        self.stop = stop
        self._subjects: dict[Calibration, Subject | Refused] = {}
        self._measuring = False
        self.subject = self._first_subject()
        self.outcome = Outcome(self.subject.protocol, planned=job.rows, asked=job)
        self._measuring = True
        self.weights = self.subject.model.parameters

    def measure(self) -> None:
        from wanda_core.experiments.rows import SWEPT
        from wanda_core.experiments.sweep import sweep

        known = self._known()
        for measured in sweep(
            self.subject.model,
            self.subject.windows,
            self.job.points,
            lambda calibration: self._subject_of(calibration).tokens,
            known=known,
            kept=self._kept,
            on_progress=self._tell,
            stop=self.stop,
        ):
            row, point = measured.row, measured.point
            pruning = measured.pruning
            if row["error"] is None:
                own = self._subject_of(point.calibration)
                plain = {key: value for key, value in row.items() if key not in SWEPT}
                if kept_row(own, known_by(point)) is None:
                    learn_from(self._setup_of(point), point.recipe, self.weights, plain)
                keep_row(own, known_by(point), plain, self._setup_of(point))
            if pruning is not None:
                keep_pruning(self._subject_of(point.calibration), pruning)
            elif point.recipe is not None and row["error"] is None:
                pruning = self._kept(point)
            if pruning is not None:
                self.outcome.layers[len(self.outcome.rows)] = layer_figures(pruning)
            self._add(row)
        self._references()

    def _add(self, row: dict[str, Any]) -> None:
        self.outcome.rows.append(row)
        self.put(replace(self.outcome, rows=list(self.outcome.rows), layers=dict(self.outcome.layers)))

    def _tell(self, doing: str, share: float, where: str) -> None:
        said = f"Point {len(self.outcome.rows) + 1} of {self.job.rows}, {doing}: {where}"
        part = share / 2 + 0.5 * (not doing.startswith("pruning"))
        self.put(Progress(said, (len(self.outcome.rows) + part) / self.job.rows))

    def _setup_of(self, point: Point) -> Setup:
        """The setup that measures a point."""
        if point.calibration is None:
            return self.job.setup
        return replace(
            self.job.setup,
            calibration=point.calibration.text,
            samples=point.calibration.samples,
            seed=point.calibration.seed,
        )

    def _subject_of(self, calibration: Calibration | None) -> Subject:
        """The model with that calibration's windows.

        Raises:
            Refused: its text cannot be had; the point will say so.
        """
        if calibration is None:
            return self.subject
        if calibration not in self._subjects:
            try:
                self._subjects[calibration] = prepare(
                    self._setup_of(Point(None, calibration)), lambda _: None
                )
            except Refused as error:
                self._subjects[calibration] = error
        found = self._subjects[calibration]
        if isinstance(found, Refused):
            raise found
        return found

    def _loading(self, event: Event) -> None:
        """Tells of loading while nothing is measured yet; later calibrations are drawn between two points."""
        if not self._measuring:
            self.put(event)

    def _first_subject(self) -> Subject:
        """Of the first calibration whose text can be had: model and evaluation are the same under all."""
        refusal = Refused("there is nothing to measure: choose at least one amount and one method")
        for calibration in dict.fromkeys(point.calibration for point in self.job.points if point.calibration):
            try:
                return self._subject_of(calibration)
            except Refused as error:
                refusal = error
        raise refusal

    def _kept(self, point: Point) -> Any:
        try:
            return kept_pruning(self._subject_of(point.calibration).key(point.recipe or ""))
        except Refused:
            return None

    def _known(self) -> list[dict[str, Any]]:
        rows = []
        for point in self.job.points:
            try:
                row = kept_row(self._subject_of(point.calibration), known_by(point))
            except Refused:
                continue
            if row is not None:
                rows.append(row | {"calibration": point.calibration and point.calibration.text})
        return rows

    def _references(self) -> None:
        from wanda_core.experiments.baselines import int8_row, smaller_row
        from wanda_core.experiments.points import blank

        model, windows = self.subject.model, self.subject.windows
        if self.job.int8:
            tell = self._beside("The same model in int8")
            self._reference("int8", lambda: int8_row(model, windows, tell, self.stop))
        if self.job.smaller:
            tell = self._beside(f"The smaller model {self.job.smaller}")
            tell(0.0, "loading")
            try:
                smaller = shared_model(self.job.smaller)
                self._reference(
                    smaller.fingerprint, lambda: smaller_row(model, windows, smaller, tell, self.stop)
                )
            except Refused as error:
                row = blank(DENSE) | {"method": f"dense {self.job.smaller}", "error": error.text}
                self._add(row | {"calibration": None, "masks_differ": None})

    def _beside(self, doing: str) -> Callable[[float, str], None]:
        return lambda share, where: self.put(
            Progress(f"{doing}: {where}", (len(self.outcome.rows) + share) / self.job.rows)
        )

    def _reference(self, kind: str, measure: Callable[[], dict[str, Any]]) -> None:
        row = kept_row(self.subject, kind) or measure()
        if row["error"] is None:
            keep_row(self.subject, kind, row)
        self._add(row | {"calibration": None, "masks_differ": None})


def layer_figures(pruning: Any) -> list[dict[str, Any]]:
    """Block, kind, sparsity and error of every layer, in the model's order."""
    return [
        {"block": r.block, "kind": r.kind, "sparsity": round(r.sparsity, 5), "error": round(r.error, 5)}
        for r in pruning.reports
    ]
