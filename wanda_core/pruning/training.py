"""The values that a recovery trains: kept weights and norms in float32, the zeros held by masks on the gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wanda_core.models.norms import Norm
from wanda_core.models.prunable_layers import ExpertLayer, Layer
from wanda_core.pruning.result import Pruning


class Training:
    """The values of a block or a whole model in training: float32 copies, by their parameters' names in the module."""

    def __init__(
        self, module: nn.Module, layers: Sequence[Layer], norms: Sequence[Norm], result: Pruning
    ) -> None:
        self._layers, self._norms = layers, norms
        self._dtype = layers[0].dtype
        self._names = {parameter: name for name, parameter in module.named_parameters()}
        self._masks: dict[str, Tensor] = {}
        self._best: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        for layer in layers:
            self._take(layer, result)
        for norm in norms:
            self.values[self._names[norm.parameter]] = norm.values.float().clone()
        # What is not trained computes in float32, too: gradients in float16 would vanish.
        state = dict(module.named_parameters()) | dict(module.named_buffers())
        self._fixed = {
            name: tensor.data.float()
            for name, tensor in state.items()
            if tensor.is_floating_point() and tensor.dtype != torch.float32 and name not in self.values
        }
        for value in self.values.values():
            value.requires_grad_()

    def _take(self, layer: Layer, result: Pruning) -> None:
        name = self._names[layer.parameter]
        weight, mask = result.unrounded(layer).float(), result.masks[layer.name].unpack(layer.stored.device)
        if not isinstance(layer, ExpertLayer):
            self.values[name] = (weight.t() if layer.transposed else weight).contiguous().clone()
            self._masks[name] = (mask.t() if layer.transposed else mask).contiguous()
            return
        if name not in self.values:
            self.values[name] = layer.whole.float().clone()
            self._masks[name] = torch.zeros_like(layer.whole, dtype=torch.bool)
        self.values[name][layer.expert] = weight
        self._masks[name][layer.expert] = mask

    def weights(self) -> dict[str, Tensor]:
        """All of the module's weights, to train."""
        return self._fixed | self.values

    def as_kept(self) -> dict[str, Tensor]:
        """The same rounded to the model's dtype."""
        return self._fixed | {
            name: value.detach().to(self._dtype).float() for name, value in self.values.items()
        }

    def mask_gradients(self) -> None:
        """Without a gradient, Adam leaves a pruned weight at exactly zero."""
        for name, mask in self._masks.items():
            gradient = self.values[name].grad
            if gradient is not None:  # None: no text reached this layer
                gradient.mul_(mask)

    def remember(self) -> None:
        """These are the best values so far."""
        self._best = {name: value.detach().clone() for name, value in self.values.items()}

    def keep(self, result: Pruning) -> dict[Layer | Norm, Tensor]:
        """Write the best values into the result; what they make of the module's weights, in the model's dtype."""
        weights: dict[Layer | Norm, Tensor] = {}
        for norm in self._norms:
            weights[norm] = self._best[self._names[norm.parameter]].to(norm.values.dtype)
            result.changed.put(norm.name, weights[norm])
        for layer in self._layers:
            value = self._best[self._names[layer.parameter]]
            if isinstance(layer, ExpertLayer):
                value = value[layer.expert]
            value = value.t() if layer.transposed else value
            mask = result.masks[layer.name].unpack(value.device)
            result.changed.put(layer.name, value[mask].to(layer.dtype))
            weights[layer] = result.unrounded(layer)
        return weights
