"""Points -> rows: a recipe on a calibration, pruned and evaluated, and nothing computed twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from torch import Tensor

from wanda_core.errors import Refused, check_stop
from wanda_core.evaluation.dense_answers import DenseAnswers
from wanda_core.evaluation.perplexity import Perplexity, perplexity
from wanda_core.experiments.point_bytes import point_bytes
from wanda_core.experiments.points import (
    DENSE,
    Calibration,
    Point,
    blank,
    describe,
    name_of,
    name_of_point,
)
from wanda_core.experiments.protocol import digest
from wanda_core.experiments.rows import Row
from wanda_core.machine import is_out_of_memory
from wanda_core.method.bits import NAMES
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe
from wanda_core.method.rounding import rounded
from wanda_core.models.channel_order import ChannelOrder
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import Layer
from wanda_core.pruning.dense_statistics import DenseStatistics, collect_statistics
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

OnProgress = Callable[[str, float, str], None]
"""Called with what is being done, the share of it that is done, and where in the model or text it is."""


Draw = Callable[[Calibration], Tensor]
"""Gives the calibration windows, int64 (samples, length); `Refused` where they cannot be had."""


class Measurement:
    """Measures point after point on one model and the same evaluation windows.

    Args:
        windows: int64 (windows, length).
        draw: called once for each calibration.
        kept: an earlier pruning of a point, where there is one; then evaluation alone runs.
        answers: the dense model's, of an earlier measurement on these windows, or empty: then the dense point's
            evaluation fills it. Where that point is known already, one evaluation more does, before it is needed.
        on_progress: told what goes on.
        stop: when set, the next layer or window raises `Stopped`.
    """

    def __init__(
        self,
        model: LanguageModel,
        windows: Tensor,
        draw: Draw,
        *,
        kept: Callable[[Point], Pruning | None] = lambda point: None,
        answers: DenseAnswers | None = None,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.model = model
        self.windows = windows
        self._evaluation = digest(windows)
        self.answers = answers or DenseAnswers()
        self._draw = draw
        self._kept = kept
        self._on_progress = on_progress
        self._stop = stop
        self._tokens: tuple[Calibration, Tensor | Refused] | None = None
        self._gathered: tuple[Calibration | None, DenseStatistics | None] = (None, None)
        self._gram: set[Calibration] = set()
        self._last: tuple[Calibration, Pruning] | None = None
        self._orders: dict[tuple[Calibration, str], tuple[ChannelOrder, float]] = {}
        """Of the channels, with the seconds that finding it took: the same for every method."""

    def measure(self, points: Iterable[Point], known: Iterable[Row] = ()) -> Iterator[Measured]:
        """Each point's row as it is there, in the order of `points`. One that fails has its reason in `error`; the
        others go on.

        Args:
            known: rows of an earlier measurement under the same protocol; those that succeeded are not measured again.

        Raises:
            Stopped: `stop` was set.
        """
        points = list(points)
        done = {name_of(row): row for row in known if row["error"] is None}
        # One forward of the dense model serves all its points: with Gram matrices, where any of them needs these.
        self._gram = {
            point.calibration
            for point in points
            if point.recipe
            and point.calibration
            and point.recipe.schedule == "dense"
            and METHODS[point.recipe.method].needs_gram
        }
        for point in points:
            check_stop(self._stop)
            row = done.get(name_of_point(point))
            yield Measured(point, row, None) if row is not None else self._measured(point)

    def _measured(self, point: Point) -> Measured:
        row, pruning = blank(point) | {"evaluation_sha256": self._evaluation}, None
        try:
            if point.bits != DENSE.bits:
                self._fill_answers()
                with self._dense_in(point.bits):
                    self._evaluate(row, f"dense{NAMES[point.bits]}", dense=self.answers)
            elif point.recipe is None or point.calibration is None:
                self._evaluate(row, "dense", record=self.answers)
            else:
                label = describe(point.recipe)
                pruning = self._kept(point) or self._pruned(point.recipe, point.calibration)
                row["prune_seconds"] = pruning.seconds["total"]
                row["sparsity_reached"] = pruning.sparsity
                self._fill_answers()
                with pruning.applied(self.model.prunable, self._stop):
                    self._evaluate(row, label, dense=self.answers)
            row |= point_bytes(self.model, pruning, row["bits"], self._stop).as_row()
        except Refused as error:
            row["error"] = str(error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            row["error"] = "out of memory: use fewer calibration windows, shorter ones or a smaller model"
        return Measured(point, row, pruning)

    def _fill_answers(self) -> None:
        if self.answers.windows is None:
            self._perplexity("dense", record=self.answers)

    def _dense_in(self, bits: int) -> AbstractContextManager[None]:
        """Let the model compute with the layers of the dense model rounded."""
        prunable = self.model.prunable
        weights = ((layer, partial(_rounded, layer, bits)) for layer in prunable.layers)
        return prunable.computing_with(weights, self._stop)

    def _evaluate(self, row: Row, label: str, **answers: DenseAnswers) -> None:
        start = perf_counter()
        measured = self._perplexity(label, **answers)
        row["evaluate_seconds"] = perf_counter() - start
        row["perplexity"] = measured.value
        row["perplexity_low"], row["perplexity_high"] = measured.low, measured.high
        row["kl_to_dense"], row["top1_changed"] = measured.kl_to_dense, measured.top1_changed
        row["window_losses"] = measured.window_losses

    def _perplexity(self, label: str, **answers: DenseAnswers) -> Perplexity:
        with self.model.prunable.alone(self._stop):
            return perplexity(
                self.model.network,
                self.windows,
                **answers,
                on_progress=self._progress(f"evaluating {label}"),
                stop=self._stop,
            )

    def _pruned(self, recipe: Recipe, calibration: Calibration) -> Pruning:
        """The pruning before this one, where nothing but the bits differs."""
        known = self._last
        if known is None or known[0] != calibration or known[1].in_bits(recipe.bits).recipe != recipe:
            self._last = known = None  # it gives room first
            self._last = known = (calibration, self._prune(recipe, calibration))
        return known[1].in_bits(recipe.bits)

    def _prune(self, recipe: Recipe, calibration: Calibration) -> Pruning:
        tokens = self._tokens_of(calibration)
        gathered = self._gathered_of(calibration, tokens) if recipe.schedule == "dense" else None
        order, seconds = self._orders.get((calibration, recipe.pattern), (None, 0.0))
        pruning = prune(
            self.model.prunable,
            tokens,
            recipe,
            gathered=gathered,
            order=order,
            on_progress=self._progress(f"pruning {describe(recipe)}"),
            stop=self._stop,
        )
        if pruning.order is not None and order is None:
            self._orders[calibration, recipe.pattern] = (pruning.order, pruning.seconds["order"])
        elif pruning.order is not None:
            # As each would need it on its own.
            pruning.seconds["order"] = seconds
            pruning.seconds["total"] += seconds
        return pruning

    def _tokens_of(self, calibration: Calibration) -> Tensor:
        """Those of the calibration last asked for are at hand, and so is what was wrong with them."""
        if self._tokens is None or self._tokens[0] != calibration:
            try:
                self._tokens = (calibration, self._draw(calibration))
            except Refused as error:
                self._tokens = (calibration, error)
        tokens = self._tokens[1]
        if isinstance(tokens, Refused):
            raise tokens
        return tokens

    def _gathered_of(self, calibration: Calibration, tokens: Tensor) -> DenseStatistics | None:
        """The dense model's statistics; None where the memory holds no Gram matrices and each point walks alone."""
        if self._gathered[0] != calibration:
            self._gathered = (None, None)  # the last calibration's give room first
            gram = calibration in self._gram
            try:
                gathered = collect_statistics(
                    self.model.prunable,
                    tokens,
                    gram=gram,
                    on_progress=self._progress("looking at the inputs of the dense model"),
                    stop=self._stop,
                )
            except Refused:
                if not gram:
                    raise
                gathered = None
            self._gathered = (calibration, gathered)
        return self._gathered[1]

    def _progress(self, doing: str) -> Callable[[float, str], None] | None:
        tell = self._on_progress
        return tell and (lambda share, where: tell(doing, share, where))


def _rounded(layer: Layer, bits: int) -> Tensor:
    return rounded(layer.name, layer.weight, bits)


@dataclass(frozen=True)
class Measured:
    """A point with its row, and its pruning unless the row was known."""

    point: Point
    row: Row
    pruning: Pruning | None
