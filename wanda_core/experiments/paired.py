"""Is one pruning better than another? Their losses on the same windows, window by window.

Windows differ far more from each other than two prunings do on one window, so that two perplexities' own intervals
overlap where the difference is certain. The differences window by window show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wanda_core.errors import Refused
from wanda_core.evaluation.student_t import t_quantile
from wanda_core.experiments.rows import Row

BOOTSTRAP_FROM = 30
"""Windows from which the interval is a bootstrap's, which supposes no distribution; below, resampling so few
understates the spread, and Student's t is used."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class Paired:
    """Ratio of two perplexities on the same windows, with a 95% interval."""

    ratio: float
    """Perplexity of the other over that of the one: above 1, the one is better."""
    low: float | None
    """None for a single window, which shows no spread."""
    high: float | None
    windows: int
    method: str
    """How the interval was made, in words."""

    @property
    def certain(self) -> bool:
        """The interval leaves out 1: the difference is more than chance among windows would make."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


def compare_losses(one: Sequence[float], other: Sequence[float]) -> Paired:
    """Hold two models against each other.

    The windows' mean losses are log perplexities, so the mean of their differences is the log of the ratio. Its
    interval is Student's t over those differences below `BOOTSTRAP_FROM` windows, else a percentile bootstrap over
    windows with a fixed seed.

    Args:
        one, other: mean loss of every window in nats, of the same windows in the same order.

    Raises:
        Refused: there are none, not as many of one as of the other, or a model has no finite loss.
    """
    if not one or len(one) != len(other):
        raise Refused(f"{len(one)} windows and {len(other)}: only losses on the same windows can be compared")
    differences = np.asarray(other, dtype=np.float64) - np.asarray(one, dtype=np.float64)  # (windows,)
    if not np.isfinite(differences).all():
        raise Refused("a model without a finite loss on every window is broken: there is nothing to compare")
    windows, mean = len(differences), float(differences.mean())
    if windows == 1:
        return Paired(_exp(mean), None, None, 1, "one window shows no spread")
    if windows < BOOTSTRAP_FROM:
        margin = t_quantile(windows - 1) * float(differences.std(ddof=1)) / math.sqrt(windows)
        low, high = mean - margin, mean + margin
        method = f"Student's t over differences of log loss on {windows} windows"
    else:
        low, high = _bootstrap(differences)
        method = (
            f"bootstrap of differences of log loss over {windows} windows, {RESAMPLES:,} resamples, seed 0"
        )
    return Paired(_exp(mean), _exp(low), _exp(high), windows, method)


def compare_rows(one: Row, other: Row) -> Paired:
    """As `compare_losses`, of two measured rows.

    Raises:
        Refused: they were evaluated on different windows, or one holds no losses.
    """
    if not one.get("window_losses") or not other.get("window_losses"):
        raise Refused("these results hold no losses of single windows: measure them again")
    windows = one.get("evaluation_sha256")
    if windows is None or windows != other.get("evaluation_sha256"):
        raise Refused("these results were measured on different windows: measure both on the same")
    return compare_losses(one["window_losses"], other["window_losses"])


def _bootstrap(differences: np.ndarray) -> tuple[float, float]:
    """2.5% and 97.5% quantile of the mean of as many windows drawn with replacement."""
    generator = np.random.default_rng(0)
    at_a_time = max(1, 2_000_000 // len(differences))  # resamples, to bound memory
    means: list[np.ndarray] = []
    for start in range(0, RESAMPLES, at_a_time):
        shape = (min(at_a_time, RESAMPLES - start), len(differences))
        means.append(differences[generator.integers(len(differences), size=shape)].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf
