"""Faults that a CUDA device would show, planted one by one: the simulated device shows every one of them."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.support.models import tiny
from tests.support.planted import planted
from tests.support.simulated_device import SimulatedCuda
from wanda_core import LanguageModel, Recipe, Refused, find_prunable_layers, load
from wanda_core.evaluation.perplexity import perplexity
from wanda_core.export.folder import save_pruned
from wanda_core.generation.sampling import Sampling
from wanda_core.generation.side_by_side import generate_side_by_side
from wanda_core.method.masks import keep_highest
from wanda_core.pruning.prune_model import prune
from wanda_core.speed import timing
from wanda_core.speed.kernels import cuda as kernels
from wanda_core.speed.packed_model import packed

pytestmark = [pytest.mark.gpu, pytest.mark.long]
DEVICE = torch.device("cuda", 1)
"""Not the current one, so that what asks for the current one is wrong."""
RECIPES = (
    Recipe(),
    Recipe(method="sparsegpt", pattern="2:4"),
    Recipe(method="random+admm", sparsity=0.3),
    Recipe(method="magnitude", sparsity=0.4),
    Recipe(allocation="owl", schedule="block"),
)
WINDOWS = torch.randint(256, (4, 12), generator=torch.Generator().manual_seed(1))


def network() -> PreTrainedModel:
    """Weights with ties, as rounded ones have."""
    made = tiny("llama")
    for layer in find_prunable_layers(made).layers:
        layer.stored.mul_(200).round_().div_(200)
    return made


def bits(recipe: Recipe, model: PreTrainedModel, micro_batch: int = 2) -> list[Any]:
    """All that a pruning holds, in the host's memory."""
    prunable = find_prunable_layers(model)
    found = prune(prunable, WINDOWS, recipe, micro_batch=micro_batch)
    assert all(norms.device.type == "cpu" for norms in found.norms.values())
    assert all(found.changed.get(name).device.type == "cpu" for name in found.masks if name in found.changed)
    with found.applied(prunable):
        weights = [layer.parameter.detach().cpu().numpy().tobytes() for layer in prunable.layers]
    return [weights, [mask.bits.tobytes() for mask in found.masks.values()], [r.error for r in found.reports]]


@cache
def expected() -> list[Any]:
    return [bits(recipe, network()) for recipe in RECIPES]


def prunes_as_a_cpu(machine: SimulatedCuda, folder: Path) -> None:
    assert [bits(recipe, network().to(DEVICE)) for recipe in RECIPES] == expected()


def selects_as_a_cpu(machine: SimulatedCuda, folder: Path) -> None:
    scores = torch.randn(1, 70_000, generator=torch.Generator().manual_seed(0))
    assert keep_highest(scores.to(DEVICE), 20_000).cpu().equal(keep_highest(scores, 20_000))


def waits_seldom(machine: SimulatedCuda, folder: Path) -> None:
    counts = []
    model = network().to(DEVICE)
    for micro_batch in (1, 4):
        machine.waits.clear()
        machine.crossed.clear()
        bits_of = prune(find_prunable_layers(model), WINDOWS, Recipe(), micro_batch=micro_batch)
        lines = {line: count for (line, _), count in machine.waits.items() if "parked_forward" not in line}
        counts.append(sum(lines.values()))
    assert counts[0] == counts[1] <= 6 * len(bits_of.masks) + 1
    masks = sum(mask.bits.nbytes for mask in bits_of.masks.values())
    norms = sum(norms.nbytes for norms in bits_of.norms.values())
    to_host = sum(size for (_, way), size in machine.crossed.items() if way == "to host")
    assert to_host == masks + norms


def evaluates_as_a_cpu(machine: SimulatedCuda, folder: Path) -> None:
    assert math.isclose(
        perplexity(network().to(DEVICE), WINDOWS).value, perplexity(network(), WINDOWS).value, rel_tol=1e-9
    )


def _language_model(folder: Path, device: str) -> LanguageModel:
    return load(str(folder), device=device, dtype="float32")


def writes_as_a_cpu(machine: SimulatedCuda, folder: Path) -> None:
    written = []
    for device in ("cpu", str(DEVICE)):
        model = _language_model(folder, device)
        assert str(model.device) == device
        prunings = [prune(model.prunable, WINDOWS, Recipe(sparsity=s), micro_batch=2) for s in (0.0, 0.5)]
        torch.manual_seed(0)
        texts = generate_side_by_side(
            model, WINDOWS[:1], prunings, Sampling(new_tokens=5, temperature=1.0, seed=3)
        )
        written.append([(text.tokens, text.perplexity) for text in texts])
    assert written[0] == written[1]


def exports(machine: SimulatedCuda, folder: Path) -> None:
    model = _language_model(folder, str(DEVICE))
    pruning = prune(model.prunable, WINDOWS.to(DEVICE), Recipe(method="sparsegpt", pattern="2:4"))
    for kind in ("packed", "folder"):
        with TemporaryDirectory() as parent:
            out = Path(parent) / kind
            save_pruned(model, pruning, WINDOWS.to(DEVICE), {"text": "random"}, out, kind=kind)


def memory_lasts(machine: SimulatedCuda, folder: Path) -> None:
    card = machine.cards[1]
    model = network().to(DEVICE)
    prunable = find_prunable_layers(model)
    held = card.allocated
    card.memory = held + 160 * 2**20
    big = torch.empty(130 * 2**18, device=DEVICE)
    del big
    for failure in ("CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"):
        card.fail_at(150, lambda size, said=failure: RuntimeError(said))
        with pytest.raises(Refused, match="out of memory on cuda:1") as caught:
            prune(prunable, WINDOWS, Recipe(method="sparsegpt"), micro_batch=4)
        card.fail_at(None)
        gc.collect()
        assert card.allocated == held  # as long as the error is there
        assert card.reserved - card.allocated < 2**21
        del caught
    prune(prunable, WINDOWS, Recipe(), micro_batch=2)


def times_on_its_device(machine: SimulatedCuda, folder: Path) -> None:
    weight = torch.ones(8, 8, device=DEVICE)
    assert timing.seconds_of(lambda: weight + 1, DEVICE) == pytest.approx(0.001)
    seconds = prune(find_prunable_layers(network().to(DEVICE)), WINDOWS, Recipe()).seconds
    assert 1000 * seconds["selection"] >= 21


def packs_what_runs(machine: SimulatedCuda, folder: Path) -> None:
    machine.capability, machine.cusparselt = (9, 0), False
    assert kernels.why_not_here("cutlass", DEVICE)
    machine.cusparselt = True
    model = copy.deepcopy(network()).half().to(DEVICE)
    prunable = find_prunable_layers(model)
    pruning = prune(prunable, WINDOWS, Recipe(pattern="2:4"))
    with pruning.applied(prunable):
        wanted = prunable.decoder(WINDOWS.to(DEVICE)).last_hidden_state
    with packed(prunable, pruning) as how:
        found = prunable.decoder(WINDOWS.to(DEVICE)).last_hidden_state
        assert len(how.kernels) == len(prunable.layers)
    torch.testing.assert_close(found.cpu(), wanted.cpu(), rtol=2e-2, atol=2e-2)


Check = Callable[[SimulatedCuda, Path], None]
CHECKS: tuple[Check, ...] = (
    prunes_as_a_cpu,
    selects_as_a_cpu,
    waits_seldom,
    evaluates_as_a_cpu,
    writes_as_a_cpu,
    exports,
    memory_lasts,
    times_on_its_device,
    packs_what_runs,
)
FAULTS: dict[str, tuple[str, str, str]] = {
    "a packed mask is not brought over": ("method.packed_mask", "bits.cpu().numpy()", "bits.numpy()"),
    "masks come back as booleans": ("pruning.result", "unpack(layer.stored.device)", "unpack()"),
    "masks cross as booleans": ("method.packed_mask", 'mask.device.type != "cpu"', "False"),
    "changed values stay in the host's memory": (
        "pruning.result",
        "self.changed.get(layer.name).to(layer.stored.device)",
        "self.changed.get(layer.name)",
    ),
    "changed values stay on the device": ("pruning.updated_weights", "values = values.cpu()", "pass"),
    "noise is drawn on the device": (
        "method.scores",
        "generator=generator).to(weight.device)",
        "generator=generator, device=weight.device)",
    ),
    "noise stays in the host's memory": ("method.scores", "generator).to(weight.device)", "generator)"),
    "norms stay on the device": ("pruning.decide_layer", "= norms.cpu()", "= norms"),
    "sums are begun in the host's memory": (
        "method.input_statistics",
        "dtype=torch.float64, device=device)",
        "dtype=torch.float64)",
    ),
    "ties are counted in the host's memory": ("method.masks", "len(row), device=row.device)", "len(row))"),
    "negative scores are ordered by their bits": (
        "method.masks",
        "keys ^= (keys >> 31) & 0x7FFFFFFF",
        "pass",
    ),
    "windows stay in the host's memory": ("pruning.prune_model", "tokens = tokens.to(device)", "pass"),
    "evaluation's windows stay": ("evaluation.perplexity", "windows.to(device), dense", "windows, dense"),
    "the prompt stays": ("generation.side_by_side", "prompt = prompt.to(model.device)", "pass"),
    "written tokens stay": (
        "generation.side_by_side",
        "torch.tensor([tokens], device=prompt.device)",
        "torch.tensor([tokens])",
    ),
    "another device's random numbers are kept": (
        "generation.parked_generate",
        "torch.cuda.get_rng_state(device) if",
        'torch.cuda.get_rng_state("cuda:0") if',
    ),
    "the model is not moved": ("models.load", "network.to(target.device)", "network"),
    "a weight is packed where it is": (
        "speed.kernels.formats",
        "kept = (mask.reshape(-1, 4)",
        "kept = (mask.cuda().reshape(-1, 4)",
    ),
    "SparseGPT's mask lies elsewhere": (
        "method.sparsegpt",
        "dtype=torch.bool, device=weight.device)",
        "dtype=torch.bool)",
    ),
    "SparseGPT's identity lies elsewhere": (
        "method.sparsegpt",
        "dtype=gram.dtype, device=gram.device)",
        "dtype=gram.dtype)",
    ),
    "ADMM's identity lies elsewhere": (
        "method.admm",
        "dtype=gram.dtype, device=gram.device)",
        "dtype=gram.dtype)",
    ),
    "a number is asked for in every micro-batch": (
        "method.input_statistics",
        "self._squares += (",
        "self._squares += float(rows[0, 0]) * 0 + (",
    ),
    "two numbers are asked for where one does": (
        "method.output_error",
        "return torch.where(size > 0, error, 0.0).item()",
        "return error.item() if size > 0 else 0.0",
    ),
    "torch's cache counts as taken": (
        "machine",
        "torch.cuda.mem_get_info(device)[0] + kept",
        "torch.cuda.mem_get_info(device)[0]",
    ),
    "what failed work holds is not let go": (
        "machine",
        "traceback.clear_frames(error.__traceback__)",
        "pass",
    ),
    "freed memory is not given back": ("machine", "torch.cuda.empty_cache()", "pass"),
    "cuBLAS's status is not known": (
        "machine",
        "any(words in said for words in OUT_OF_MEMORY)",
        "any(words in said for words in OUT_OF_MEMORY[:3])",
    ),
    "CUTLASS is offered to newer devices": ("speed.kernels.cuda", "capability[0] != CUTLASS_MAJOR", "False"),
    "the current device is asked": (
        "speed.timing",
        "stream = torch.cuda.current_stream(device)",
        "stream = torch.cuda.current_stream()",
    ),
    "stages are timed on the current device": (
        "pruning.stage_clock",
        "stream = torch.cuda.current_stream(device)",
        "stream = torch.cuda.current_stream()",
    ),
}
"""By name: module of `wanda_core`, what it says, what it would say."""
EQUIVALENT: dict[str, tuple[str, str, str]] = {
    # safetensors brings tensors over itself.
    "an export's tensors are not brought over": (
        "export.packed_file",
        "tensor.cpu().contiguous()",
        "tensor.contiguous()",
    ),
    # A mask is chosen where its weight is.
    "a mask is not moved to its weight": ("pruning.result", "mask.to(weight.device)", "mask"),
}
"""Changes that look like faults and change nothing."""


def drill(folder: Path) -> str:
    """The first check that fails, with what it says; empty where all pass."""
    for check in CHECKS:
        with SimulatedCuda((9, 0)) as machine:
            try:
                check(machine, folder)
            except Exception as error:  # whatever a fault leads to
                return f"{check.__name__}: {type(error).__name__}: {str(error)[:100]}"
    return ""


def test_all_is_well_without_a_fault(llama_folder: Path) -> None:
    assert drill(llama_folder) == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_shown(fault: str, llama_folder: Path) -> None:
    module, right, wrong = FAULTS[fault]
    expected()
    with planted(f"wanda_core.{module}", right, wrong):
        shown = drill(llama_folder)
    assert shown
    print(f"{fault}: {shown}")


@pytest.mark.parametrize("change", EQUIVALENT)
def test_what_is_no_fault_is_not_shown(change: str, llama_folder: Path) -> None:
    module, right, wrong = EQUIVALENT[change]
    with planted(f"wanda_core.{module}", right, wrong):
        assert drill(llama_folder) == ""
