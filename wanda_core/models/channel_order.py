"""Orders of a model's channels that fold into its weights: the model computes the same, its columns lie elsewhere.

Three kinds of channels can be put in any order without a trace in what the model computes. Those of the residual
stream, one order for all of them: whatever writes to it (embeddings, output projections) has its rows in that order,
whatever reads it (norms, input projections, the head) its columns. Those between the two halves of an MLP, an order for
each block: rows of gate and up, columns of down. And the values inside a head, an order for each key-value head: its
rows of the value projection, and of the output projection the columns of every query head that it serves. Queries and
keys meet position by position, so they stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from wanda_core.errors import Refused
from wanda_core.models.norms import Norm
from wanda_core.models.prunable_layers import Make, PrunableModel

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma", "gemma2", "gemma3_text")
"""Values of `model_type`. Their norms scale every channel of the stream by itself, and nothing else mixes channels but
the parameters of `AXES`."""

RESIDUAL, MLP, VALUES, HEADS = "residual", "mlp", "values", "heads"
"""What a parameter's rows or columns are: channels of the stream, of an MLP, values of the key-value heads, and of the
query heads."""

ORDER = "order.safetensors"
"""Of an export: the orders by name, see `ChannelOrder.as_names`."""

AXES: dict[str, tuple[str | None, ...]] = {
    "embed_tokens.weight": (None, RESIDUAL),
    "lm_head.weight": (None, RESIDUAL),
    "norm.weight": (RESIDUAL,),
    "input_layernorm.weight": (RESIDUAL,),
    "post_attention_layernorm.weight": (RESIDUAL,),
    "pre_feedforward_layernorm.weight": (RESIDUAL,),
    "post_feedforward_layernorm.weight": (RESIDUAL,),
    "self_attn.q_norm.weight": (None,),
    "self_attn.k_norm.weight": (None,),
    "self_attn.q_proj.weight": (None, RESIDUAL),
    "self_attn.q_proj.bias": (None,),
    "self_attn.k_proj.weight": (None, RESIDUAL),
    "self_attn.k_proj.bias": (None,),
    "self_attn.v_proj.weight": (VALUES, RESIDUAL),
    "self_attn.v_proj.bias": (VALUES,),
    "self_attn.o_proj.weight": (RESIDUAL, HEADS),
    "self_attn.o_proj.bias": (RESIDUAL,),
    "mlp.gate_proj.weight": (MLP, RESIDUAL),
    "mlp.gate_proj.bias": (MLP,),
    "mlp.up_proj.weight": (MLP, RESIDUAL),
    "mlp.up_proj.bias": (MLP,),
    "mlp.down_proj.weight": (RESIDUAL, MLP),
    "mlp.down_proj.bias": (RESIDUAL,),
}
"""Of every parameter, by its name inside the decoder or a block: what its dimensions are. None: in no order."""


@dataclass(frozen=True)
class Shape:
    """How many channels of each kind a model has."""

    hidden: int
    mlp: int
    key_value_heads: int
    shared_by: int
    """Query heads that each key-value head serves."""
    head: int
    """Values of a head."""

    @classmethod
    def of(cls, prunable: PrunableModel) -> Shape:
        config: Any = prunable.decoder.config
        heads = config.num_attention_heads
        pairs = getattr(config, "num_key_value_heads", None) or heads
        head = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(config.hidden_size, config.intermediate_size, pairs, heads // pairs, head)


@dataclass(frozen=True, eq=False)
class ChannelOrder:
    """Which channel comes to each place. All int64, on the CPU."""

    shape: Shape
    residual: Tensor
    """(hidden,)."""
    mlp: tuple[Tensor, ...]
    """Of every block, (mlp,)."""
    values: tuple[Tensor, ...]
    """Of every block, (key_value_heads, head): an order inside each head."""

    @classmethod
    def of_names(cls, tensors: dict[str, Tensor], shape: Shape, blocks: int) -> ChannelOrder:
        """From what `as_names` gave; what is not there stays in its order.

        Raises:
            Refused: it is no order of a model of that shape.
        """
        still = {
            RESIDUAL: torch.arange(shape.hidden),
            MLP: torch.arange(shape.mlp),
            VALUES: torch.arange(shape.head).repeat(shape.key_value_heads, 1),
        }
        for name, order in tensors.items():
            usual = still.get(name.rpartition(".")[2])
            if usual is None or order.dtype != usual.dtype or not torch.equal(order.sort(dim=-1)[0], usual):
                raise Refused(f"{name[:80]} is no order of the channels of such a model")
        mlp, values = (
            tuple(tensors.get(f"blocks.{block}.{kind}", still[kind]) for block in range(blocks))
            for kind in (MLP, VALUES)
        )
        return cls(shape, tensors.get(RESIDUAL, still[RESIDUAL]), mlp, values)

    def as_names(self) -> dict[str, Tensor]:
        """The orders by name: `residual`, `blocks.0.mlp`, `blocks.0.values` and so on."""
        blocks = {f"blocks.{i}.{MLP}": order for i, order in enumerate(self.mlp)}
        blocks |= {f"blocks.{i}.{VALUES}": order for i, order in enumerate(self.values)}
        return {RESIDUAL: self.residual} | blocks

    @property
    def nbytes(self) -> int:
        return sum(order.nbytes for order in self.as_names().values())

    @cached_property
    def _values(self) -> tuple[Tensor, ...]:
        """Of every block, (key_value_heads * head,): places in all heads together."""
        first = torch.arange(self.shape.key_value_heads)[:, None] * self.shape.head
        return tuple((order + first).flatten() for order in self.values)

    @cached_property
    def _heads(self) -> tuple[Tensor, ...]:
        """Of every block, the columns of the output projection: each query head in the order of its values."""
        shape = self.shape
        first = torch.arange(shape.key_value_heads * shape.shared_by)[:, None] * shape.head
        return tuple(
            (order.repeat_interleave(shape.shared_by, dim=0) + first).flatten() for order in self.values
        )

    def _along(self, kind: str | None, block: int) -> Tensor | None:
        if kind is None:
            return None
        return (
            self.residual
            if kind == RESIDUAL
            else {MLP: self.mlp, VALUES: self._values, HEADS: self._heads}[kind][block]
        )

    def columns(self, layer: str) -> Tensor:
        """Which input of the layer of that name comes to each place, int64 (in_features,), on the CPU."""
        found = self._along(AXES[_inside(f"{layer}.weight")][1], _block(layer))
        assert found is not None  # every layer's columns are channels of some kind
        return found

    def put(self, layer: str, matrix: Tensor) -> Tensor:
        """A matrix (out_features, in_features) of that layer, such as its mask, with its rows and columns in order."""
        rows = self._along(AXES[_inside(f"{layer}.weight")][0], _block(layer))
        matrix = matrix[:, self.columns(layer).to(matrix.device)]
        return matrix if rows is None else matrix[rows.to(matrix.device)]

    def take_back(self, layer: str, matrix: Tensor) -> Tensor:
        """What `put` was given."""
        rows = self._along(AXES[_inside(f"{layer}.weight")][0], _block(layer))
        matrix = matrix[:, self.columns(layer).argsort().to(matrix.device)]
        return matrix if rows is None else matrix[rows.argsort().to(matrix.device)]

    def put_norm(self, norm: str, values: Tensor) -> Tensor:
        """Values (features,) of the norm of that name, in order."""
        order = self._along(AXES[_inside(norm)][0], _block(norm))
        return values if order is None else values[order.to(values.device)]

    def same_as(self, other: ChannelOrder) -> bool:
        mine, theirs = self.as_names(), other.as_names()
        return all(torch.equal(theirs[name], order) for name, order in mine.items())

    def others(self, prunable: PrunableModel) -> Iterator[tuple[Norm, Make]]:
        """What is no prunable layer, each with what gives its values in order: embeddings, head, norms and biases."""
        layers = {id(layer.parameter) for layer in prunable.layers}
        for name, parameter in prunable.network.named_parameters():  # a tied one comes once
            axes = AXES[_inside(name)]
            if id(parameter) in layers or not any(axes):
                continue
            part = Norm(name, _block(name), parameter, parameter.data, prunable.stream)
            yield part, partial(self._other, part, axes)

    def _other(self, part: Norm, axes: tuple[str | None, ...]) -> Tensor:
        values = part.values
        for dim, kind in enumerate(axes):
            order = self._along(kind, part.block)
            if order is not None:
                values = values.index_select(dim, order.to(values.device))
        return values


def check_order(prunable: PrunableModel) -> None:
    """
    Raises:
        Refused: the model's channels have no order that folds into its weights.
    """
    kind = str(getattr(prunable.decoder.config, "model_type", "this kind of"))
    offered = "{order} applies to models built like Llama, Mistral, Qwen2, Qwen3, SmolLM3 and Gemma"
    if kind not in FAMILIES:
        raise Refused(
            f"{offered}: what an order of channels would do to a {kind} model is not known, choose none"
        )
    for name, _ in prunable.network.named_parameters():
        if _inside(name) not in AXES:
            raise Refused(f"{offered}: {name} is no part of these, and may mix channels, choose none")


def _inside(name: str) -> str:
    """A parameter's name inside its block or the decoder: `mlp.up_proj.weight`, `norm.weight`."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[-2:] if number is None else parts[number + 1 :])


def _block(name: str) -> int:
    """The number of its block; 0 for what is outside of all, and in no block's order."""
    return next((int(part) for part in name.split(".") if part.isdigit()), 0)
