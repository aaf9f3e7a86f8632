"""How fast a whole pruned model reads and writes on this machine: tokens per second, dense and packed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wanda_core.errors import Refused, check_stop
from wanda_core.machine import free_bytes, gigabytes
from wanda_core.method.masks import structured_mask, unstructured_mask
from wanda_core.method.packed_mask import PackedMask
from wanda_core.method.recipe import Recipe
from wanda_core.models.language_model import LanguageModel, refuse_streamed
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.result import Pruning
from wanda_core.speed.packed_model import Packed, pack
from wanda_core.speed.timing import OnProgress, Row, fill_in_ratios, new_row, seconds_of, timing


def by_magnitude(prunable: PrunableModel) -> dict[str, Pruning]:
    """Prunings to measure with, `2:4` and `50%`, that need no text: which weights went does not change the speed.

    A layer whose inputs do not come in groups of four stays dense under 2:4.
    """
    two_four = Pruning(Recipe(method="magnitude", pattern="2:4"))
    half = Pruning(Recipe(method="magnitude", sparsity=0.5))
    for layer in prunable.layers:
        scores = layer.weight.float().abs()
        half.masks[layer.name] = PackedMask.pack(unstructured_mask(scores, 0.5, "output"))
        if scores.shape[1] % 4 == 0:
            two_four.masks[layer.name] = PackedMask.pack(structured_mask(scores, 2, 4))
    return {"2:4": two_four, "50%": half}


def refuse_if_too_large(model: LanguageModel, prunings: int = 2) -> None:
    """Raise `Refused` where the memory does not hold the weights of all that is measured side by side: of every
    pruning, and the masked dense ones of the first."""
    weights = sum(layer.stored.nbytes for layer in model.prunable.layers)
    needed, free = (1 + prunings) * weights, free_bytes(model.device)
    if needed > free:
        raise Refused(
            f"measuring {model.source} dense and packed needs {gigabytes(needed)} beside the model on {model.device}, "
            f"{gigabytes(free)} are free: measure the shapes of its layers alone, or a smaller model"
        )


@torch.inference_mode()
def measure_model(
    model: LanguageModel,
    prunings: Mapping[str, Pruning],
    *,
    prompt: int = 128,
    new: int = 24,
    rounds: int = 5,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> tuple[list[Row], dict[str, Packed]]:
    """Time the whole model, dense and packed: reading a prompt at once (prefill), then token after token (decode).

    Args:
        prunings: by the name of the row, such as `2:4`; the first is timed as masked dense, too.
        prompt: tokens of the prompt, drawn at random.
        new: tokens that are decoded greedily after it.

    Returns:
        Rows of `COLUMNS`, `dense` first, and each pruning's packed weights.

    Raises:
        Refused: the memory does not hold the weights, or the model is streamed.
        Stopped: `stop` was set; the model is dense.
    """
    refuse_streamed(model, "timing a model")
    refuse_if_too_large(model, len(prunings))
    prunable, network = model.prunable, model.network
    variants: dict[str, Callable[[], Any]] = {"dense": prunable.alone}
    sizes = {"dense": _read_bytes(model)}
    packs: dict[str, Packed] = {}
    for index, (name, pruning) in enumerate(prunings.items()):
        if on_progress:
            on_progress(0.2 * index / len(prunings), f"packing {name}")
        if index == 0:
            # Kept as one copy: pruning every weight anew in each round would take longer than the round.
            weights = {
                layer: pruning.weight(layer) for layer in prunable.layers if layer.name in pruning.masks
            }
            made = [(layer, partial(weights.__getitem__, layer)) for layer in weights]
            variants["masked dense"] = partial(prunable.computing_with, made)
            sizes["masked dense"] = sizes["dense"]
        packs[name] = pack(prunable, pruning)
        variants[name] = partial(packs[name].applied, prunable)
        replaced = sum(layer.stored.nbytes for layer in prunable.layers if layer.name in packs[name].products)
        sizes[name] = sizes["dense"] - replaced + packs[name].nbytes
    vocabulary = _embedding(network).shape[0]
    ids = torch.randint(vocabulary, (1, prompt), generator=torch.Generator().manual_seed(0)).to(model.device)
    times: dict[tuple[str, str], list[float]] = {}
    for index in range(rounds + 1):
        for place, (name, variant) in enumerate(variants.items()):
            if on_progress:
                share = 0.2 + 0.8 * (index + place / len(variants)) / (rounds + 1)
                on_progress(share, f"{name}, round {index} of {rounds}" if index else f"{name}, warming up")
            with variant():
                prefill, decode = _generate(network, ids, new, model.device, stop)
            if index:
                times.setdefault(("prefill", name), []).append(prefill)
                times.setdefault(("decode", name), []).append(decode)
    rows = []
    for part, tokens in (("prefill", prompt), ("decode", 1)):
        of_part = [
            new_row(
                part=part, tokens=tokens, kernel=name, bytes=sizes[name], bound=sizes["dense"] / sizes[name]
            )
            | timing(times[part, name], tokens)
            for name in variants
        ]
        fill_in_ratios(of_part)
        if part == "decode":
            for row in of_part:
                row["gigabytes_per_second"] = row["bytes"] / row["milliseconds"] / 1e6
        rows += of_part
    return rows, packs


def _generate(
    network: Any, ids: Tensor, new: int, device: torch.device, stop: threading.Event | None
) -> tuple[float, float]:
    """Seconds for the prompt, and for one token after it, on average."""
    state: dict[str, Any] = {}

    def prefill() -> None:
        state["out"] = network(input_ids=ids, use_cache=True, logits_to_keep=1)

    def decode() -> None:
        for _ in range(new):
            check_stop(stop)
            token = state["out"].logits[:, -1:].argmax(dim=-1)
            state["out"] = network(
                input_ids=token,
                past_key_values=state["out"].past_key_values,
                use_cache=True,
                logits_to_keep=1,
            )

    return seconds_of(prefill, device), seconds_of(decode, device) / new


def _embedding(network: Any) -> Tensor:
    """(vocabulary, hidden)."""
    return network.get_input_embeddings().weight


def _read_bytes(model: LanguageModel) -> int:
    """Bytes of weights that one token reads: all but an input embedding that is not the output head, too."""
    embedding = _embedding(model.network)
    head = model.network.get_output_embeddings()
    tied = head is not None and head.weight is embedding
    return sum(p.nbytes for p in model.network.parameters()) - (0 if tied else embedding.nbytes)
