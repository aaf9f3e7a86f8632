"""The result of pruning a model: per layer a bit-packed mask and a report, applied to the dense model and taken off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from wanda_core.method.packed_mask import PackedMask
from wanda_core.method.recipe import Recipe
from wanda_core.method.rounding import rounded
from wanda_core.models.channel_order import ChannelOrder
from wanda_core.models.norms import Norm
from wanda_core.models.prunable_layers import Layer, Make, PrunableModel
from wanda_core.pruning.updated_weights import ChangedValues


@dataclass(frozen=True)
class LayerReport:
    """What pruning did to one layer."""

    name: str
    block: int
    kind: str
    weights: int
    pruned: int
    error: float
    """Relative output error `||X (W - W')^T|| / ||X W^T||` on a sample of the layer's own inputs; 0 is no change. Of
    the layer as decided, before a recovery."""
    seconds: float
    """Time to score, choose, correct and pack, without the forward."""
    note: str = ""
    """What did not go as the method has it, such as a factorisation that was repeated; else empty."""

    @property
    def sparsity(self) -> float:
        return self.pruned / self.weights


@dataclass(frozen=True)
class BlockReport:
    """What a recovery did to one block."""

    block: int
    before: float
    """Error of the block's output on the windows held out, as decided: mean over tokens of the squared distance from
    the dense model's, divided by that one's squared norm."""
    after: float
    """The same with the values that were kept; never above `before`."""
    epochs: int
    """Trained before it stopped."""
    note: str = ""
    """Why the block was left as decided; else empty."""


@dataclass(frozen=True)
class ModelReport:
    """What a recovery did to the whole model."""

    curve: list[tuple[int, float]]
    """Steps done, and the perplexity on the windows held out then; the first before any step."""
    note: str = ""
    """Why it was left as decided."""

    @property
    def before(self) -> float:
        return self.curve[0][1]

    @property
    def after(self) -> float:
        """The lowest: those values are kept."""
        return min(perplexity for _, perplexity in self.curve)


@dataclass(frozen=True)
class BlockScan:
    """Losses of the dense model, and of the model with one block pruned, on the first calibration windows; and what it
    took. Not the evaluation text: the ratios made of it are no better for having seen that."""

    dense: float
    """Mean negative log-likelihood of a predicted token, in nats."""
    pruned: tuple[float, ...]
    """The same with that block alone pruned."""
    windows: int
    evaluations: int
    """Times that a block computed, after the calibration."""
    heads: int
    """Times that the output head computed."""
    calibrations: int = 1
    """Passes of all calibration windows."""

    @property
    def told(self) -> str:
        """What it took against pruning and evaluating block after block, in one line."""
        blocks = len(self.pruned)
        return (
            f"scan of {blocks} blocks on {self.windows} windows: {self.evaluations:,} block evaluations "
            f"(one block after the other: {self.windows * blocks * (blocks + 1):,}), {self.heads} heads, "
            f"{self.calibrations} calibration pass ({blocks})"
        )


@dataclass
class Pruning:
    """Masks for every pruned layer of one model, and what is known about how they came about."""

    recipe: Recipe
    masks: dict[str, PackedMask] = field(default_factory=dict)
    changed: ChangedValues = field(default_factory=ChangedValues)
    """The kept weights' new values, by layer name where the method or a recovery changed them; and a norm's, by its own
    name, where a recovery did."""
    norms: dict[str, Tensor] = field(default_factory=dict)
    """L2 norms of every layer's input features (in_features,), float32, on the CPU: what its scores were made of."""
    reports: list[LayerReport] = field(default_factory=list)
    recovered: list[BlockReport] = field(default_factory=list)
    """What the recovery `blocks` did to each block; empty without it."""
    recovered_model: ModelReport | None = None
    """What the recovery `model` did."""
    uncalled: list[str] = field(default_factory=list)
    """Linear layers that the forward never called: left dense, not counted in the sparsity."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time of the whole run (`total`) and of its parts: `statistics`, `decisions` (of which `selection`, `updates` and
    `masks`, packed and brought over from a device), `errors` and `recovery`."""
    order: ChannelOrder | None = None
    """The order of the channels that masks, norms and changed values are in; None: as the model has them."""
    scan: BlockScan | None = None
    """What the ratios of the blocks were made of, under the allocation `sensitivity`."""
    conditions: dict[str, Any] = field(default_factory=dict)
    """What else the masks depend on: device, dtype, micro-batch, threads, versions."""

    @property
    def trained(self) -> bool:
        """Whether a recovery followed."""
        return bool(self.recovered or self.recovered_model)

    @property
    def sparsity(self) -> float:
        """Share of the weights of the pruned layers that the masks remove."""
        return sum(r.pruned for r in self.reports) / sum(r.weights for r in self.reports)

    def in_bits(self, bits: int) -> Pruning:
        """The same masks and values, rounded to other bits."""
        return replace(self, recipe=replace(self.recipe, bits=bits))

    @property
    def nbytes(self) -> int:
        """Memory that masks, norms, order and changed values take, without those on disk (`changed.disk_bytes`)."""
        masks = sum(mask.bits.nbytes for mask in self.masks.values())
        order = 0 if self.order is None else self.order.nbytes
        return masks + sum(norms.nbytes for norms in self.norms.values()) + self.changed.memory_bytes + order

    def weight(self, layer: Layer) -> Tensor:
        """The pruned weight (out_features, in_features), in the layer's dtype, rounded to the recipe's bits.

        Raises:
            Refused: it holds a value that these bits cannot.
        """
        return rounded(layer.name, self.unrounded(layer), self.recipe.bits)

    def unrounded(self, layer: Layer) -> Tensor:
        """The pruned weight before it is rounded: zero where pruned, kept values bit for bit the dense ones, or the
        method's own where it changes them."""
        mask = self.masks[layer.name].unpack(layer.stored.device)
        if layer.name not in self.changed:
            return _masked(self.dense_weight(layer), mask)
        weight = torch.zeros(mask.shape, dtype=layer.dtype, device=layer.stored.device)
        return weight.masked_scatter_(mask, self.changed.get(layer.name).to(layer.stored.device))

    @contextmanager
    def applied(self, prunable: PrunableModel, stop: threading.Event | None = None) -> Iterator[None]:
        """Let the model compute with the pruned weights inside the `with`, with the dense ones after it.

        Raises:
            Stopped: `stop` was set while the weights were unpacked, seconds for a large model.
        """
        pruned = (
            (layer, partial(self.weight, layer)) for layer in prunable.layers if layer.name in self.masks
        )
        with prunable.computing_with(chain(pruned, self.other_weights(prunable)), stop):
            yield

    def own_mask(self, layer: str, device: torch.device | None = None) -> Tensor:
        """The mask of the layer of that name, bool (out_features, in_features), channels as the dense model has them,
        on a device (None: the CPU)."""
        mask = self.masks[layer].unpack(device)
        return mask if self.order is None else self.order.take_back(layer, mask)

    def dense_weight(self, layer: Layer) -> Tensor:
        """The dense weight (out_features, in_features) with its channels in this result's order; a view without one."""
        return layer.weight if self.order is None else self.order.put(layer.name, layer.weight)

    def _dense_in_order(self, layer: Layer) -> Tensor:
        return self.dense_weight(layer).contiguous()

    def _changed_on(self, name: str, device: torch.device) -> Tensor:
        return self.changed.get(name).to(device)

    def other_weights(self, prunable: PrunableModel) -> Iterator[tuple[Layer | Norm, Make]]:
        """What else the pruned model has of its own, each with what gives it on the model's device: the norms that a
        recovery changed and, where its channels are in another order, everything that is not pruned."""
        if self.order is not None:
            for layer in prunable.layers:
                if layer.name not in self.masks:
                    yield layer, partial(self._dense_in_order, layer)
            yield from self.order.others(prunable)
        yield from self.recovered_norms(prunable)

    def recovered_norms(self, prunable: PrunableModel) -> Iterator[tuple[Norm, Make]]:
        """The norms that a recovery changed, each with what gives its values (features,) on the model's device."""
        for norm in prunable.norms:
            if norm.name in self.changed:
                yield norm, partial(self._changed_on, norm.name, norm.stored.device)

    def put_in_order(self, prunable: PrunableModel, order: ChannelOrder) -> None:
        """Bring masks, norms and changed values, until now as the model has them, into that order."""
        for layer in prunable.layers:
            if layer.name not in self.masks:
                continue
            mask = self.masks[layer.name].unpack()
            if layer.name in self.changed:
                weight = torch.zeros(mask.shape, dtype=layer.dtype)
                weight.masked_scatter_(mask, self.changed.get(layer.name))
                self.changed.put(layer.name, order.put(layer.name, weight)[order.put(layer.name, mask)])
            self.masks[layer.name] = PackedMask.pack(order.put(layer.name, mask).contiguous())
            self.norms[layer.name] = self.norms[layer.name][order.columns(layer.name)]
        for norm in prunable.norms:
            if norm.name in self.changed:
                self.changed.put(norm.name, order.put_norm(norm.name, self.changed.get(norm.name)))
        self.order = order


def pruned_weight(layer: Layer, mask: Tensor) -> Tensor:
    """The layer's weight with zeros where `mask` (out_features, in_features) is False, contiguous."""
    return _masked(layer.weight, mask)


def _masked(weight: Tensor, mask: Tensor) -> Tensor:
    # As whole numbers, so that kept values stay bit for bit; ten times faster than filling under a mask.
    bits = weight.view(torch.int32 if weight.element_size() == 4 else torch.int16)
    return (bits * mask.to(weight.device)).view(weight.dtype).contiguous()
