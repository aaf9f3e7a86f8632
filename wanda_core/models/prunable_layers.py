"""Which linear layers of a model can be pruned, each seen as a matrix (out_features, in_features)."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.nn.utils import parametrize
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from wanda_core.errors import Refused, check_stop
from wanda_core.models.experts import PROJECTIONS, why_not_experts
from wanda_core.models.norms import Norm, find_norms

ROUTERS = {"gate", "router", "shared_expert_gate", "modality_router"}
"""Last part of the names of layers that choose experts: a few weights that steer all others, never pruned."""

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


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
    """The dense weight in the module's own layout."""
    transposed: bool
    """The module stores (in, out): GPT-2's Conv1D."""

    @property
    def parameter(self) -> nn.Parameter:
        """What the module computes with."""
        return self.module.get_parameter("weight")

    @property
    def weight(self) -> Tensor:
        """The dense weight, (out_features, in_features); a view."""
        return self.stored.t() if self.transposed else self.stored

    def point_at(self, weight: Tensor) -> None:
        """Let the module compute with `weight` (out_features, in_features) until `restore`."""
        self.parameter.data = weight.t().contiguous() if self.transposed else weight

    def restore(self) -> None:
        """Let the module compute with its dense weight again."""
        self.parameter.data = self.stored


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
        if self.parameter.data_ptr() == self.whole.data_ptr():
            self.parameter.data = self.whole.clone()
        self.parameter.data[self.expert] = weight

    def restore(self) -> None:
        """Let the module compute with the dense weights of all its experts again."""
        self.parameter.data = self.whole


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
        self, weights: Iterable[tuple[Layer | Norm, Tensor]], stop: threading.Event | None = None
    ) -> Iterator[None]:
        """Let the model compute with these weights, each (out_features, in_features) or of another part's shape,
        inside the `with`, and with the dense ones after it. No other thread uses the model meanwhile.

        Raises:
            Stopped: `stop` was set while the weights were made, seconds for a large model.
        """
        with self.alone(stop):
            parts = []  # also embeddings, head and biases, which `restore` does not know
            try:
                for part, weight in weights:
                    check_stop(stop)
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


_MODELS: weakref.WeakSet[PrunableModel] = weakref.WeakSet()


def _renew_locks() -> None:
    """A child process has none of the threads that held a lock when it was forked."""
    for prunable in list(_MODELS):
        object.__setattr__(prunable, "exclusive", threading.RLock())


os.register_at_fork(after_in_child=_renew_locks)


class ReplacedForward:
    """A module's forward, replaced until `remove`."""

    def __init__(self, module: nn.Module, forward: Callable[..., Tensor]) -> None:
        self._module = module
        self._before = vars(module).get("forward")
        module.forward = forward

    def remove(self) -> None:
        del self._module.forward
        if self._before is not None:
            self._module.forward = self._before


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
    decoder = network.get_decoder()
    lists = [m for m in decoder.modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not lists:
        raise Refused(f"{type(network).__name__} has no list of decoder blocks")
    blocks = max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()))
    names = {module: name for name, module in network.named_modules()}
    layers = tuple(
        layer for index, block in enumerate(blocks) for layer in _layers_of_block(index, block, names[block])
    )
    if not layers:
        raise Refused(f"no prunable linear layer in the blocks of {type(network).__name__}")
    _refuse_shared(network, layers)
    return PrunableModel(network, decoder, tuple(blocks), layers, find_norms(network, tuple(blocks)))


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
        _refuse_unsound(name, module)
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
        _refuse_values(f"{name}.{projection}", getattr(module, projection))
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


def _refuse_unsound(name: str, module: nn.Module) -> None:
    """Refuse a linear layer whose weight is not simply its matrix, here, in floating point."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        raise Refused(f"{name} is parametrised: remove the parametrisation first")
    if kind not in (nn.Linear, Conv1D) and not kind.__module__.startswith("transformers.models."):
        raise Refused(
            f"{name} is a {kind.__name__}: quantised or adapted layers cannot be pruned, load plain weights"
        )
    _refuse_values(name, module.get_parameter("weight"))


def _refuse_values(name: str, weight: Tensor) -> None:
    if type(weight.data) is not Tensor:
        kind = type(weight.data).__name__
        raise Refused(
            f"{name} holds {kind} weights: quantised or wrapped weights cannot be pruned, load plain ones"
        )
    if weight.is_meta:
        raise Refused(
            f"the weights of {name} are not on the device (offloaded): use a larger device, or cpu for {{device}}"
        )
    if weight.dtype not in FLOATS:
        raise Refused(f"{name} holds {weight.dtype} weights: float32, bfloat16 or float16 needed")


def _refuse_shared(network: PreTrainedModel, layers: tuple[Layer, ...]) -> None:
    """Pruning a weight that two modules use would change the other one unseen."""
    owners = Counter(
        p.data_ptr() for module in network.modules() for p in module._parameters.values() if p is not None
    )
    for layer in layers:
        if owners[layer.parameter.data_ptr()] > 1:
            raise Refused(
                f"the weight of {layer.name} is shared with another module: it cannot be pruned alone"
            )


take_apart = find_prunable_layers
"""The name that cards of exported models use."""
