"""An order of channels folds into the weights: the model computes the same, and is dense again afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from tests.support.models import VOCABULARY, snapshot, tiny
from wanda_core import find_prunable_layers
from wanda_core.errors import Refused
from wanda_core.models.channel_order import FAMILIES, ChannelOrder, Shape, check_order
from wanda_core.models.prunable_layers import Layer, PrunableModel

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}
CONFIGS: dict[str, Any] = {
    "llama, tied": lambda: LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama, biases": lambda: LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "mistral": lambda: MistralConfig(**SIZES),
    "qwen2, biases": lambda: Qwen2Config(**SIZES),
    "qwen3, norms in heads": lambda: Qwen3Config(**SIZES),
    "smollm3": lambda: SmolLM3Config(**SIZES),
    "gemma, tied": lambda: GemmaConfig(**SIZES),
    "gemma2, four norms": lambda: Gemma2Config(**SIZES),
}


def random_model(name: str) -> PreTrainedModel:
    """Every parameter random, also those that begin as zeros or ones."""
    if name == "gemma3":
        network = tiny("gemma3")
    else:
        torch.manual_seed(0)
        network = AutoModelForCausalLM.from_config(CONFIGS[name]()).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return network


def random_order(prunable: PrunableModel, seed: int = 0) -> ChannelOrder:
    generator = torch.Generator().manual_seed(seed)
    shape, blocks = Shape.of(prunable), range(len(prunable.blocks))

    def shuffled(size: int) -> Tensor:
        return torch.randperm(size, generator=generator)

    return ChannelOrder(
        shape,
        shuffled(shape.hidden),
        tuple(shuffled(shape.mlp) for _ in blocks),
        tuple(torch.stack([shuffled(shape.head) for _ in range(shape.key_value_heads)]) for _ in blocks),
    )


@contextmanager
def folded(prunable: PrunableModel, order: ChannelOrder) -> Iterator[None]:
    def put(layer: Layer) -> Tensor:
        return order.put(layer.name, layer.weight).contiguous()

    layers = ((layer, partial(put, layer)) for layer in prunable.layers)
    with prunable.computing_with(chain(layers, order.others(prunable))):
        yield


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("name", [*CONFIGS, "gemma3"])
def test_logits_are_the_same(name: str, ids: Tensor) -> None:
    network = random_model(name)
    prunable = find_prunable_layers(network)
    check_order(prunable)
    before, dense = snapshot(network), network(input_ids=ids).logits
    with folded(prunable, random_order(prunable)):
        logits = network(input_ids=ids).logits
        moved = {
            name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])
        }
    assert (logits - dense).abs().max() <= 1e-5 * dense.abs().max()
    # All but what queries and keys have for themselves.
    own = ("q_norm.weight", "k_norm.weight", "q_proj.bias", "k_proj.bias")
    assert moved == {name for name in before if not name.endswith(own)}
    after = snapshot(network)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_every_family_that_is_offered_is_tested() -> None:
    tested = {random_model(name).config.model_type for name in [*CONFIGS, "gemma3"]}
    assert tested == set(FAMILIES)


def test_rows_and_columns_follow_the_channels() -> None:
    """Derived channel by channel: three query heads to a key-value head, each in its values' order."""
    prunable = find_prunable_layers(random_model("llama, tied"))
    order = random_order(prunable)
    layers = {(layer.block, layer.kind.rsplit(".")[-1]): layer for layer in prunable.layers}
    value, output = layers[1, "v_proj"], layers[1, "o_proj"]
    put_value, put_output = (order.put(layer.name, layer.weight) for layer in (value, output))
    for head in range(6):
        for place in range(8):
            channel = int(order.values[1][head // 3][place])
            assert torch.equal(
                put_output[:, 8 * head + place], output.weight[order.residual, 8 * head + channel]
            )
            row = value.weight[8 * (head // 3) + channel, order.residual]
            assert torch.equal(put_value[8 * (head // 3) + place], row)
    gate, down = layers[0, "gate_proj"], layers[0, "down_proj"]
    assert torch.equal(order.put(gate.name, gate.weight)[5], gate.weight[order.mlp[0][5], order.residual])
    assert torch.equal(
        order.put(down.name, down.weight)[7, 5], down.weight[order.residual[7], order.mlp[0][5]]
    )
    query = layers[0, "q_proj"]
    assert torch.equal(order.put(query.name, query.weight), query.weight[:, order.residual])


def test_the_dense_model_is_back_after_a_failure(ids: Tensor) -> None:
    network = random_model("llama, tied")
    prunable, before = find_prunable_layers(network), snapshot(network)
    with pytest.raises(RuntimeError, match="on purpose"), folded(prunable, random_order(prunable)):
        raise RuntimeError("on purpose")
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(network).items())
    assert network.lm_head.weight is network.model.embed_tokens.weight


def test_an_order_survives_its_names() -> None:
    prunable = find_prunable_layers(random_model("qwen2, biases"))
    order = random_order(prunable)
    again = ChannelOrder.of_names(order.as_names(), order.shape, 2)
    assert all(torch.equal(again.as_names()[name], each) for name, each in order.as_names().items())
    still = ChannelOrder.of_names({}, order.shape, 2)
    layer = prunable.layers[3]
    assert torch.equal(still.put(layer.name, layer.weight), layer.weight)


@pytest.mark.parametrize("family", ["opt", "gpt2"])
def test_other_families_are_refused(family: str) -> None:
    with pytest.raises(Refused, match=f"what an order of channels would do to a {family} model is not known"):
        check_order(find_prunable_layers(tiny(family)))


def test_a_parameter_of_another_kind_is_refused() -> None:
    network = tiny("llama")
    network.model.layers[1].mlp.register_parameter("mix", torch.nn.Parameter(torch.zeros(48, 48)))
    with pytest.raises(Refused, match=r"model\.layers\.1\.mlp\.mix"):
        check_order(find_prunable_layers(network))
