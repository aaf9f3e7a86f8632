"""What else decides the masks: machine, versions, threads and micro-batch."""

from __future__ import annotations

import torch

from wanda_core.machine import machine
from wanda_core.models.prunable_layers import PrunableModel


def default_micro_batch(length: int, device: torch.device) -> int:
    """Windows in one forward: about 2,048 tokens on a CPU, where larger activations only cost page faults."""
    return max(1, (2048 if device.type == "cpu" else 16384) // length)


def conditions(prunable: PrunableModel, micro_batch: int) -> dict[str, str | int]:
    """What beside recipe, calibration and weights decides every last bit of a result."""
    layer = prunable.layers[0]
    return machine(layer.stored.device, layer.dtype) | {"micro_batch": micro_batch}
