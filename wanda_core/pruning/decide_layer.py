"""Decide one layer: score it, choose what is pruned, update what is kept, and write it down."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.method.masks import choose
from wanda_core.method.methods import METHODS
from wanda_core.method.output_error import relative_output_error
from wanda_core.method.packed_mask import PackedMask
from wanda_core.method.scores import SCORES, scores_of
from wanda_core.method.updates import Factor, Update, update_named
from wanda_core.models.channel_order import ChannelOrder
from wanda_core.models.prunable_layers import Layer
from wanda_core.pruning.result import LayerReport, Pruning, pruned_weight
from wanda_core.pruning.stage_clock import StageClock

NO_TOKEN = "no calibration token was routed to this expert: pruned by magnitude within output rows"


class LayerPruner:
    """Decides one layer after the other by the result's recipe, and writes masks, values and reports into the result.

    Args:
        sparsities: share to prune of each layer; N:M patterns have their own.
        clock: counts the stages `selection`, `updates`, `masks` and `errors`.
        order: the one that every M inputs of a pattern are consecutive in.
    """

    def __init__(
        self,
        result: Pruning,
        sparsities: Mapping[Layer, float],
        clock: StageClock,
        order: ChannelOrder | None = None,
    ) -> None:
        self.result = result
        self.recipe = result.recipe
        self.method = METHODS[self.recipe.method]
        self.sparsities = sparsities
        self.clock = clock
        self.order = order
        self._update = update_named(self.method.update)
        self._factor: tuple[InputStatistics, Factor] | None = None

    def __call__(self, layer: Layer, statistics: InputStatistics) -> Tensor:
        """The weight (out_features, in_features) to go on with, in the layer's dtype.

        Args:
            statistics: of the layer's whole input; without a token where it is an expert that was never chosen.

        Raises:
            Refused: the weights or inputs hold NaN or infinite values, or the input cannot be factorised.
        """
        device = layer.stored.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # else the layer's seconds would be those of the forward before it
        start = perf_counter()
        mask, values, note = self._choose(layer, statistics)
        if values is None:
            weight = pruned_weight(layer, mask)
        else:
            weight = values.to(layer.dtype).contiguous()
            if not torch.isfinite(weight).all():
                raise Refused(
                    f"{self.method.name} gives NaN or infinite weights in {layer.name}: try {{method}} wanda"
                )
            self.result.changed.put(layer.name, weight[mask])
        with self.clock.stage("masks", device):
            packed = PackedMask.pack(mask)
        self.result.masks[layer.name] = packed
        decided = perf_counter()
        with self.clock.stage("errors", device):
            error = relative_output_error(layer.weight, weight, statistics.sample())
        self.result.reports.append(
            LayerReport(
                name=layer.name,
                block=layer.block,
                kind=layer.kind,
                weights=mask.numel(),
                pruned=mask.numel() - packed.kept,
                error=error,
                seconds=decided - start,
                note=note,
            )
        )
        return weight

    def _choose(self, layer: Layer, statistics: InputStatistics) -> tuple[Tensor, Tensor | None, str]:
        """The mask, the new weight where the method changes it (both (out, in)), and what the report must say."""
        # A sum is NaN or infinite as soon as one of its terms is.
        if not torch.isfinite(layer.weight.sum(dtype=torch.float32)):
            raise Refused(f"the weights of {layer.name} hold NaN or infinite values: the model is damaged")
        norms = statistics.norms()
        self.result.norms[layer.name] = norms.cpu()
        if not torch.isfinite(self.result.norms[layer.name]).all():
            raise Refused(f"the input of {layer.name} holds NaN or infinite values: try {{dtype}} float32")
        if self.method.needs_inputs and statistics.tokens == 0:
            return self._mask(layer, "magnitude", norms, "output", statistics), None, NO_TOKEN
        mask = None
        if self.method.score is not None:
            mask = self._mask(layer, self.method.score, norms, self.recipe.group, statistics)
        if self._update is None:
            assert mask is not None  # a method without a score has an update that chooses
            return mask, None, ""
        columns = self._columns(layer)
        sparsity, pattern = self.sparsities[layer], self.recipe.parsed_pattern
        with self.clock.stage("updates", layer.stored.device):
            factor = self._factor_of(layer, self._update, statistics)
            if mask is not None:
                mask = mask[:, columns]
            values, mask = factor.update(layer.weight[:, columns], mask, sparsity, pattern)
            back = _inverse(columns)
        return mask[:, back], values[:, back], factor.note

    def _mask(
        self, layer: Layer, score: str, norms: Tensor, group: str | None, statistics: InputStatistics
    ) -> Tensor:
        with self.clock.stage("selection", layer.stored.device):
            gram = statistics.gram() if SCORES[score].needs_gram else None
            scores = scores_of(score, layer.name, layer.weight.float(), norms, self.recipe.seed, gram)
            columns = self._columns(layer)
            mask = choose(scores[:, columns], self.recipe.parsed_pattern, self.sparsities[layer], group)
            return mask[:, _inverse(columns)]

    def _columns(self, layer: Layer) -> Tensor | slice:
        """Of the layer's inputs, the order in which every M consecutive ones are a group."""
        if self.order is None:
            return slice(None)
        return self.order.columns(layer.name).to(layer.stored.device)

    def _factor_of(self, layer: Layer, update: Update, statistics: InputStatistics) -> Factor:
        """Computed once for layers that share their input, which come one after the other."""
        if self._factor is None or self._factor[0] is not statistics:
            self._factor = None  # the last one's matrices give room first
            try:
                columns = self._columns(layer)  # the same for all layers that share their input
                self._factor = (
                    statistics,
                    update.factor_of(statistics.gram()[columns][:, columns].contiguous()),
                )
            except Refused as error:
                raise Refused(f"{layer.name}: {error.text}") from None
        return self._factor[1]


def _inverse(columns: Tensor | slice) -> Tensor | slice:
    """What puts columns back."""
    return columns if isinstance(columns, slice) else columns.argsort()
