"""One text's `generate`, parked between tokens in a greenlet of its own, and the weights its turn computes with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin
from transformers.generation.streamers import BaseStreamer

from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.result import Pruning
from wanda_core.speed.packed_model import Packed, packed


@dataclass(frozen=True)
class Weights:
    """What the model is to compute with while a text's step runs."""

    parameters: list[tuple[nn.Parameter, Tensor]]
    forwards: list[tuple[nn.Module, Callable[..., Tensor] | None]]
    """A packed layer's own forward; None: the module's class has it."""

    @classmethod
    def now(cls, prunable: PrunableModel) -> Weights:
        """What it computes with now."""
        # One parameter can hold several layers, the experts of a module.
        parameters = {id(layer.parameter): layer.parameter for layer in prunable.layers}
        modules = {id(layer.module): layer.module for layer in prunable.layers}
        return cls(
            [(parameter, parameter.data) for parameter in parameters.values()],
            [(module, vars(module).get("forward")) for module in modules.values()],
        )

    def put(self) -> None:
        """Let the model compute with this."""
        for parameter, data in self.parameters:
            parameter.data = data
        for module, forward in self.forwards:
            if forward is not None:
                module.forward = forward
            elif "forward" in vars(module):
                del module.forward


def weights_of(
    prunable: PrunableModel, pruning: Pruning, pack: bool, stop: threading.Event | None
) -> tuple[Weights, Packed | None]:
    """A pruning's weights, unpacked or packed once for all tokens, and how its layers compute if packed."""
    if pack:
        with packed(prunable, pruning, stop) as how:
            return Weights.now(prunable), how
    with pruning.applied(prunable, stop):
        return Weights.now(prunable), None


class ParkedText:
    """One call of `generate`, parked between tokens.

    `generate` runs without gradients, a mode of the thread and not of the greenlet: it parks inside, so that whoever
    switches to it has to put the mode back.
    """

    def __init__(
        self, model: LanguageModel, prompt: Tensor, settings: GenerationConfig, weights: Weights
    ) -> None:
        self._weights = weights
        self._random = _random_state(model.device)
        self._device = model.device
        self._generate = greenlet(
            lambda: cast(GenerationMixin, model.network).generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=settings,
                streamer=_Parking(),
            )
        )

    @torch.no_grad()
    def step(self) -> int | None:
        """Run until the next token; None: the text has ended."""
        self._weights.put()
        _set_random_state(self._device, self._random)
        token = self._generate.switch()
        self._random = _random_state(self._device)
        return None if self._generate.dead else token

    @torch.no_grad()
    def close(self) -> None:
        """End `generate` where it is parked."""
        if self._generate and not self._generate.dead:
            self._generate.throw(GreenletExit)


class _Parking(BaseStreamer):
    """Hands every new token over and waits for the next turn."""

    def __init__(self) -> None:
        self._prompt = True

    def put(self, value: Tensor) -> None:
        if self._prompt:
            self._prompt = False
        else:
            getcurrent().parent.switch(int(value))

    def end(self) -> None:
        pass


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
