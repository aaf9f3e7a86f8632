"""Which linear layers of a model can be pruned, each seen as a matrix (out_features, in_features)."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from wanda_core.errors import Refused, check_stop
from wanda_core.models.block_stream import BlockStream, dense_now, stream_of
from wanda_core.models.experts import PROJECTIONS, why_not_experts
from wanda_core.models.norms import Norm, find_norms
from wanda_core.models.unsound_layers import refuse_shared, refuse_unsound, refuse_values

ROUTERS = {"gate", "router", "shared_expert_gate", "modality_router"}
"""Last part of the names of layers that choose experts: a few weights that steer all others, never pruned."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable linear layer. Its dense weight is read by everybody and written by nobody."""

    name: str
    """Full name in the model, such as `model.layers.0.self_attn.q_proj`."""
    block: int
    kind: str
    """Name inside its block, such as `self_attn.q_proj`; the same for all experts of a block."""
    module: nn.Module
    stored: Tensor
    """The dense weight in the module's own layout, where it lies."""
    transposed: bool
    """The module stores (in, out): GPT-2's Conv1D."""
    stream: BlockStream | None = field(default=None, kw_only=True)
    """Where the model's weights lie in files: brings them into memory."""

    @property
    def parameter(self) -> nn.Parameter:
        """What the module computes with."""
        return self.module.get_parameter("weight")

    @property
    def dtype(self) -> torch.dtype:
        """What the module computes in."""
        return self.stored.dtype if self.stream is None else self.stream.dtype

    @property
    def shape(self) -> torch.Size:
        """(out_features, in_features)."""
        return (self.stored.t() if self.transposed else self.stored).shape

    @property
    def weight(self) -> Tensor:
        """The dense weight, (out_features, in_features), in `dtype`; a view, or a copy of what lies in a file."""
        dense = self._dense().to(self.dtype)
        return dense.t() if self.transposed else dense

    def _dense(self) -> Tensor:
        return dense_now(self.stream, self.parameter, self.stored)

    def point_at(self, weight: Tensor) -> None:
        """Let the module compute with `weight` (out_features, in_features) until `restore`."""
        self.parameter.data = weight.t().contiguous() if self.transposed else weight

    def restore(self) -> None:
        """Let the module compute with its dense weight again."""
        self.parameter.data = self._dense()


@dataclass(frozen=True, eq=False)
class ExpertLayer(Layer):
    """One matrix of one expert: a slice of a parameter that holds all experts of the module."""

    projection: str
    """Name of the parameter, `gate_up_proj` or `down_proj`."""
    expert: int
    whole: Tensor
    """The dense parameter, (experts, out_features, in_features); `stored` is a slice of it."""

    @property
    def parameter(self) -> nn.Parameter:
        return getattr(self.module, self.projection)

    def point_at(self, weight: Tensor) -> None:
        """Let the module compute with `weight` for this expert, on a copy of the parameter, until `restore`."""
        whole = self._whole()
        if self.parameter.data_ptr() == whole.data_ptr():
            self.parameter.data = whole.clone()
        self.parameter.data[self.expert] = weight

    def restore(self) -> None:
        """Let the module compute with the dense weights of all its experts again."""
        self.parameter.data = self._whole()

    def _whole(self) -> Tensor:
        return dense_now(self.stream, self.parameter, self.whole)

    def _dense(self) -> Tensor:
        return self._whole()[self.expert]


@dataclass(frozen=True, eq=False)
class PrunableModel:
    """A causal language model taken apart as far as pruning needs."""

    network: PreTrainedModel
    """The whole model, with its output head."""
    decoder: PreTrainedModel
    """The text decoder: called with `input_ids`, it runs every block and not the output head."""
    blocks: tuple[nn.Module, ...]
    layers: tuple[Layer, ...]
    """In the order in which the model defines them."""
    norms: tuple[Norm, ...]
    """Of the blocks, in the same order; never pruned, and trained with the kept weights."""
    stream: BlockStream | None = None
    """Where the weights lie in files: brings them into memory, block by block."""
    exclusive: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)
    """Held by whoever lets the model compute with other weights, or counts on its dense ones; see `alone`."""

    def __post_init__(self) -> None:
        _MODELS.add(self)

    @contextmanager
    def alone(self, stop: threading.Event | None = None) -> Iterator[None]:
        """Have the model for this thread alone inside the `with`, after whoever has it now.

        Raises:
            Stopped: `stop` was set while it waited.
        """
        lock = self.exclusive
        while not lock.acquire(timeout=0.1):
            check_stop(stop)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def computing_with(
        self, weights: Iterable[tuple[Layer | Norm, Make]], stop: threading.Event | None = None
    ) -> Iterator[None]:
        """Let the model compute with these weights inside the `with`, and with the dense ones after it. No other thread
        uses the model meanwhile.

        Args:
            weights: each made at once or, where the model's lie in files, when a forward comes to it;
                (out_features, in_features) or of another part's shape, in the dtype that the model computes in.

        Raises:
            Stopped: `stop` was set while the weights were made, seconds for a large model.
        """
        with self.alone(stop):
            if self.stream is not None:
                with self.stream.replacing(weights):
                    yield
                return
            parts = []  # also embeddings, head and biases, which `restore` does not know
            try:
                for part, make in weights:
                    check_stop(stop)
                    weight = make()
                    parts.append(part)
                    part.point_at(weight)
                yield
            finally:
                for part in parts:
                    part.restore()

    def restore(self) -> None:
        for part in itertools.chain[Layer | Norm](self.layers, self.norms):
            part.restore()

    @contextmanager
    def stoppable(self, stop: threading.Event | None) -> Iterator[None]:
        """Let every forward inside the `with` end with `Stopped` at its next block once `stop` is set."""

        def check(*_: object) -> None:
            check_stop(stop)

        hooks = [block.register_forward_pre_hook(check) for block in self.blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


Make = Callable[[], Tensor]
"""Gives a part's weight."""

_MODELS: weakref.WeakSet[PrunableModel] = weakref.WeakSet()


def _renew_locks() -> None:
    """A child process has none of the threads that held a lock when it was forked."""
    for prunable in list(_MODELS):
        object.__setattr__(prunable, "exclusive", threading.RLock())


os.register_at_fork(after_in_child=_renew_locks)


def find_prunable_layers(network: PreTrainedModel) -> PrunableModel:
    """Find the decoder blocks and their prunable layers.

    Raises:
        Refused: the model is quantised, adapted, compiled or offloaded, shares a weight between modules, or is built
            in a way that cannot be pruned layer by layer. The message names the module and the reason.
    """
    if getattr(network, "is_quantized", False) or getattr(network.config, "quantization_config", None):
        raise Refused(
            "the model is quantised: load it with unquantised weights, pruning needs the real values"
        )
    for name, module in network.named_modules():
        if isinstance(module, OptimizedModule) or module._compiled_call_impl is not None:
            raise Refused(f"{name or 'the model'} is compiled: prune the model first, then compile it")
    blocks = decoder_blocks(network)
    names = {module: name for name, module in network.named_modules()}
    layers = tuple(
        layer for index, block in enumerate(blocks) for layer in _layers_of_block(index, block, names[block])
    )
    if not layers:
        raise Refused(f"no prunable linear layer in the blocks of {type(network).__name__}")
    refuse_shared(network, ((layer.name, layer.parameter) for layer in layers))
    norms = find_norms(network, blocks)
    stream = stream_of(network)
    if stream is not None:
        layers = tuple(replace(layer, stream=stream) for layer in layers)
        norms = tuple(replace(norm, stream=stream) for norm in norms)
    return PrunableModel(network, network.get_decoder(), blocks, layers, norms, stream)


def decoder_blocks(network: PreTrainedModel) -> tuple[nn.Module, ...]:
    """The decoder's blocks, in the order in which it runs them.

    Raises:
        Refused: it has no list of them.
    """
    lists = [m for m in network.get_decoder().modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not lists:
        raise Refused(f"{type(network).__name__} has no list of decoder blocks")
    blocks = max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()))
    return tuple(blocks)


def _layers_of_block(index: int, block: nn.Module, prefix: str) -> list[Layer]:
    layers = []
    for kind, module in block.named_modules():
        name = f"{prefix}.{kind}"
        if hasattr(module, "base_layer"):
            raise Refused(f"{name} is adapted (LoRA or the like): merge the adapter into the weights first")
        if any(p.dim() == 3 for p in module.parameters(recurse=False)) and "conv" not in name:
            layers += _layers_of_experts(index, module, prefix, kind)
        if kind.rsplit(".", 1)[-1] in ROUTERS or not isinstance(module, nn.Linear | Conv1D):
            continue
        refuse_unsound(name, module)
        layers.append(Layer(name, index, kind, module, module.weight.data, isinstance(module, Conv1D)))
    return layers


def _layers_of_experts(index: int, module: nn.Module, prefix: str, kind: str) -> list[Layer]:
    """Every expert's two matrices: all of the first projection, then all of the second, as the forward goes."""
    name = f"{prefix}.{kind}"
    if reason := why_not_experts(module):
        raise Refused(f"{name} ({type(module).__name__}) cannot be pruned: {reason}")
    layers: list[Layer] = []
    for projection in PROJECTIONS:
        whole = getattr(module, projection).data
        refuse_values(f"{name}.{projection}", getattr(module, projection))
        layers += [
            ExpertLayer(
                name=f"{name}.{expert}.{projection}",
                block=index,
                kind=f"{kind}.{projection}",
                module=module,
                stored=whole[expert],
                transposed=False,
                projection=projection,
                expert=expert,
                whole=whole,
            )
            for expert in range(len(whole))
        ]
    return layers


take_apart = find_prunable_layers
"""The name that cards of exported models use."""
