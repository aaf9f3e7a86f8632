"""One layer laid open: which weights each of two methods removes, and why, in plain arrays.

From the dense weight and the norms of the layer's inputs alone, so that it can be had in milliseconds; the scores and
masks are those of a walk on the same statistics. A large layer's pictures are drawn from rows taken at even distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.inspection.histograms import BINS, Histogram, Plane, places_on_log_axis, plane
from wanda_core.method.masks import check_divides, choose
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import Recipe
from wanda_core.method.scores import scores_of
from wanda_core.pruning.allocation import OUTLIER

DRAWN_WEIGHTS = 2**21
"""Histograms and densities are drawn from at most about this many weights."""


def check_finite(name: str, weight: Tensor, norms: Tensor) -> None:
    """
    Raises:
        Refused: the weight or the norms hold NaN or infinite values.
    """
    if not torch.isfinite(weight.sum(dtype=torch.float64)):
        raise Refused(f"the weights of {name} hold NaN or infinite values: the model is damaged")
    if not torch.isfinite(norms).all():
        raise Refused(f"the input of {name} holds NaN or infinite values: try {{dtype}} float32")


@dataclass(frozen=True, eq=False)
class OpenLayer:
    """A layer's dense weight and what its inputs look like."""

    name: str
    weight: Tensor
    """(out_features, in_features), float32, contiguous, on the CPU."""
    norms: Tensor
    """L2 norms of the input features over the calibration text, (in_features,), float32."""

    @classmethod
    def of(cls, name: str, weight: Tensor, norms: Tensor) -> OpenLayer:
        """
        Raises:
            Refused: the weight or the norms hold NaN or infinite values.
        """
        weight, norms = weight.float().cpu().contiguous(), norms.float().cpu()
        check_finite(name, weight, norms)
        return cls(name, weight, norms)

    @property
    def rows(self) -> slice:
        """The rows that pictures are drawn from."""
        return slice(None, None, -(-self.weight.numel() // DRAWN_WEIGHTS))

    @cached_property
    def plane(self) -> Plane:
        """Density of the drawn weights by size and input norm."""
        return plane(self.weight[self.rows].numpy(), self.norms.numpy())


@dataclass(frozen=True, eq=False)
class Scored:
    """A layer's scores by one method, with their places on the histogram's axis; the same for every sparsity."""

    scores: Tensor
    """(out_features, in_features), float32, on the CPU."""
    places: np.ndarray
    """Bin of each drawn weight, uint8, flat; BINS where the score is 0."""
    edges: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.scores.nbytes + self.places.nbytes

    def histogram(self, drawn_mask: np.ndarray) -> Histogram:
        """
        Args:
            drawn_mask: of the drawn rows, bool.
        """
        counts = np.bincount(
            self.places + np.uint8(BINS + 1) * drawn_mask.reshape(-1), minlength=2 * (BINS + 1)
        ).reshape(2, -1)
        pruned, kept = counts[:, :BINS]
        return Histogram(self.edges, kept, pruned, int(counts[:, BINS].sum()), int(counts[1, BINS]))


def score_layer(layer: OpenLayer, method: str, seed: int) -> Scored:
    """Score a layer by a method; SparseGPT, which has no score of its own, is shown on Wanda's."""
    scores = scores_of(METHODS[method].score or "wanda", layer.name, layer.weight, layer.norms, seed)
    # What is beyond float32 is as high as can be, here as where masks are chosen.
    drawn = scores[layer.rows].numpy().reshape(-1)
    places, edges = places_on_log_axis(drawn, BINS)
    return Scored(scores, np.where(drawn > 0, places, BINS).astype(np.uint8), edges)


def choose_mask(layer: OpenLayer, scored: Scored, recipe: Recipe) -> Tensor:
    """The mask that a walk on these statistics would give; bool, (out_features, in_features).

    Raises:
        Refused: the pattern does not fit the layer, or the method decides while it corrects.
    """
    return mask_by_scores(layer.name, scored.scores, recipe)


def mask_by_scores(name: str, scores: Tensor, recipe: Recipe) -> Tensor:
    """As `choose_mask`, of a layer's scores (out_features, in_features), on their device."""
    if METHODS[recipe.method].score is None:
        raise Refused(
            f"{recipe.method} decides while it corrects, so it has no preview: press Run to see its own masks"
        )
    check_divides(recipe.parsed_pattern, name, scores.shape[1])
    assert recipe.sparsity is not None  # a recipe fills it in
    return choose(scores, recipe.parsed_pattern, recipe.sparsity, recipe.group)


def outlier_inputs(norms: Tensor) -> np.ndarray:
    """Numbers of the input features whose norm is above `OUTLIER` times the layer's mean norm, highest first."""
    values = norms.cpu().numpy()
    above = np.flatnonzero(values > OUTLIER * values.mean(dtype=np.float64))
    return above[np.argsort(-values[above], kind="stable")]


def row_losses(layer: OpenLayer, mask: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Share of each output row's weights that go, and how far its output moves: two arrays, (out_features,).

    The second is `sqrt(sum_pruned (w_j ||X_j||)^2 / sum (w_j ||X_j||)^2)`: the relative output error, were the inputs
    uncorrelated; 0 for a row of zeros.
    """
    # Scaled, so that squares of very large weights stay finite.
    energy = (layer.weight.abs() / layer.weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)).square_()
    squares = (layer.norms / layer.norms.max().clamp_min(1e-30)).square()
    whole = energy @ squares
    gone = (energy * ~mask) @ squares
    lost = (gone / whole.clamp_min(1e-30)).clamp_(0, 1).sqrt_()
    return 1 - mask.float().mean(dim=1).numpy(), torch.where(whole > 0, lost, 0.0).numpy()
