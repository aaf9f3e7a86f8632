"""Random models made on a device, and Wanda in the paper's order on them, to measure against."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.speed.timing import seconds_of


@dataclass(frozen=True)
class Size:
    """A Llama, and how much is done with it."""

    name: str
    hidden: int
    inner: int
    blocks: int
    heads: int
    keys: int
    vocabulary: int
    samples: int = 128
    length: int = 2048
    dtype: torch.dtype = torch.bfloat16
    kernel_shapes: tuple[tuple[int, int], ...] = ((4096, 4096), (4096, 11008), (11008, 4096))
    kernel_tokens: tuple[int, ...] = (1, 16, 128, 1024, 4096)
    prompts: tuple[int, ...] = (128, 2048)


SIZES = {
    "tiny": Size(
        "tiny",
        hidden=64,
        inner=192,
        blocks=2,
        heads=4,
        keys=2,
        vocabulary=512,
        samples=8,
        length=32,
        kernel_shapes=((128, 192),),
        kernel_tokens=(1, 64),
        prompts=(16,),
    ),
    "1b": Size("1b", hidden=2048, inner=5632, blocks=22, heads=32, keys=4, vocabulary=32000),
    "7b": Size("7b", hidden=4096, inner=11008, blocks=32, heads=32, keys=32, vocabulary=32000),
}


def random_model(size: Size, device: torch.device, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Made where it is to be: the machine's own memory need not hold it."""
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.blocks,
        num_attention_heads=size.heads,
        num_key_value_heads=size.keys,
        max_position_embeddings=4096,
    )
    torch.manual_seed(0)
    with device:
        network = AutoModelForCausalLM.from_config(config, dtype=dtype or size.dtype)
        for name, weight in network.named_parameters():
            if weight.dim() == 1 and "norm" in name:  # else all inputs are about as large
                weight.data.mul_(torch.rand_like(weight) * 2 + 0.1)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def paper_order_seconds(prunable: PrunableModel, tokens: Tensor) -> float:
    """Seconds of Wanda at 50% as its paper has it (Sun et al., arXiv 2306.11695, section 3): for each block every
    window runs through it alone, the scores of a layer are sorted row by row, and every window runs through the pruned
    block once more. The weights are as before afterwards."""
    device = prunable.layers[0].stored.device
    return seconds_of(lambda: _paper_order(prunable, tokens.to(device)), device)


def _paper_order(prunable: PrunableModel, tokens: Tensor) -> None:
    inputs, arguments = _inputs_of_first_block(prunable, tokens)
    for index, block in enumerate(prunable.blocks):
        layers = {layer.module: layer for layer in prunable.layers if layer.block == index}
        squares = {
            module: torch.zeros(layer.weight.shape[1], device=tokens.device)
            for module, layer in layers.items()
        }

        def add(module: nn.Module, args: tuple, squares: dict = squares) -> None:
            squares[module] += args[0].reshape(-1, args[0].shape[-1]).float().square().sum(dim=0)

        hooks = [module.register_forward_pre_hook(add) for module in layers]
        for hidden in inputs:
            block(hidden, **arguments)
        for hook in hooks:
            hook.remove()
        for module, layer in layers.items():
            scores = layer.weight.float().abs() * squares[module].sqrt()
            pruned = scores.sort(dim=1, stable=True).indices[:, : scores.shape[1] // 2]
            layer.point_at(layer.weight.clone().scatter_(1, pruned, 0))
        inputs = [_first(block(hidden, **arguments)) for hidden in inputs]
        for layer in layers.values():
            layer.restore()


def _inputs_of_first_block(prunable: PrunableModel, tokens: Tensor) -> tuple[list[Tensor], dict]:
    """What the first block is called with, window by window; the other blocks of a Llama are called with the same."""
    seen: list[Tensor] = []
    arguments: dict = {}

    class Reached(Exception):
        pass

    def keep(module: nn.Module, args: tuple, kwargs: dict) -> None:
        seen.append(args[0])
        arguments.update(kwargs)
        raise Reached

    hook = prunable.blocks[0].register_forward_pre_hook(keep, with_kwargs=True)
    for window in tokens.unsqueeze(1):
        with suppress(Reached):
            prunable.decoder(input_ids=window, use_cache=False)
    hook.remove()
    return seen, arguments


def _first(output: Tensor | tuple) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
