"""The engine on CUDA: masks and perplexities are the CPU's, for every method, pattern, schedule, dtype and family."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.architectures import EXPERTS, build
from tests.support.models import CONFIGS, tiny
from tests.support.simulated_device import SimulatedCuda
from tests.unit.pruning.test_architectures import FAMILIES
from wanda_core import Recipe, find_prunable_layers, load
from wanda_core.evaluation.perplexity import perplexity
from wanda_core.export.folder import save_pruned
from wanda_core.generation.sampling import Sampling
from wanda_core.generation.side_by_side import generate_side_by_side
from wanda_core.inspection.layer_summary import summarise
from wanda_core.method.methods import METHODS
from wanda_core.method.recipe import SCHEDULES
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning.dense_statistics import collect_statistics
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

pytestmark = pytest.mark.gpu
PATTERNS = ("unstructured", "2:4", "4:8")


def assert_same(found: Pruning, expected: Pruning) -> None:
    """The same masks, errors and changed values, to the bit."""
    assert found.masks.keys() == expected.masks.keys()
    for name, mask in expected.masks.items():
        assert (found.masks[name].bits == mask.bits).all(), name
        if name in expected.changed:
            assert found.changed.get(name).equal(expected.changed.get(name)), name
    assert [(r.name, r.error) for r in found.reports] == [(r.name, r.error) for r in expected.reports]


def both(network: torch.nn.Module, tokens: Tensor, recipe: Recipe, machine: SimulatedCuda) -> PrunableModel:
    """Prune on the CPU and on the simulated device, and compare."""
    prunable = find_prunable_layers(copy.deepcopy(network).cuda())
    assert all(layer.stored.is_cuda for layer in prunable.layers)
    found = prune(prunable, tokens, recipe, micro_batch=2)
    expected = prune(find_prunable_layers(network), tokens, recipe, micro_batch=2)
    assert_same(found, expected)
    return prunable


@pytest.mark.parametrize(("place", "method"), list(enumerate(METHODS)))
def test_methods(place: int, method: str, tokens: Tensor, machine: SimulatedCuda) -> None:
    """Each method once; each pattern, and each schedule, with a third of them."""
    pattern, schedule = PATTERNS[place % 3], SCHEDULES[(place // 3 + place) % 3]
    both(tiny("llama"), tokens[:4], Recipe(method=method, pattern=pattern, schedule=schedule), machine)


@pytest.mark.long
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_pattern_and_schedule(
    method: str, pattern: str, schedule: str, tokens: Tensor, machine: SimulatedCuda
) -> None:
    both(tiny("llama"), tokens[:4], Recipe(method=method, pattern=pattern, schedule=schedule), machine)


@pytest.mark.parametrize("group", ["output", "layer", "input"])
def test_every_group(group: str, tokens: Tensor, machine: SimulatedCuda) -> None:
    both(tiny("llama"), tokens, Recipe(sparsity=0.6, group=group, allocation="owl"), machine)


DTYPES = (torch.bfloat16, torch.float16)
IN_HALF = ("wanda", "ria", "sparsegpt", "wanda+admm")


@pytest.mark.parametrize("method", IN_HALF)
@pytest.mark.parametrize("family", CONFIGS)
def test_both_dtypes(family: str, method: str, tokens: Tensor, machine: SimulatedCuda) -> None:
    """Each family with each method, and each of them in both dtypes."""
    dtype = DTYPES[([*CONFIGS].index(family) + IN_HALF.index(method)) % 2]
    both(tiny(family).to(dtype), tokens[:4], Recipe(method=method), machine)


@pytest.mark.long
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", IN_HALF)
@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_method_and_dtype(
    family: str, method: str, dtype: torch.dtype, tokens: Tensor, machine: SimulatedCuda
) -> None:
    both(tiny(family).to(dtype), tokens[:4], Recipe(method=method), machine)


ARCHITECTURES = {**FAMILIES, **EXPERTS}
RECIPES = (Recipe(), Recipe(method="sparsegpt", schedule="block"))


def both_of(family: str, recipe: Recipe, machine: SimulatedCuda) -> None:
    config, arguments = ARCHITECTURES[family][:2]
    windows = torch.randint(3, 99, (4, 24), generator=torch.Generator().manual_seed(1))
    both(build(config, arguments), windows, recipe, machine)


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_every_architecture(family: str, machine: SimulatedCuda) -> None:
    both_of(family, RECIPES[[*ARCHITECTURES].index(family) % 2], machine)


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.method)
@pytest.mark.parametrize("family", ARCHITECTURES)
def test_every_architecture_with_either_recipe(family: str, recipe: Recipe, machine: SimulatedCuda) -> None:
    both_of(family, recipe, machine)


def test_a_pruned_model_on_two_devices(tokens: Tensor, machine: SimulatedCuda) -> None:
    network = tiny("llama")
    expected = prune(find_prunable_layers(network), tokens, Recipe(), micro_batch=2)
    spread = tiny("llama").cuda()
    spread.model.layers[1:].to("cuda:1")

    def bring(module: torch.nn.Module, args: tuple, kwargs: dict) -> tuple:
        place = next(module.parameters()).device
        move = lambda value: value.to(place) if isinstance(value, Tensor) else value  # noqa: E731
        kwargs = {
            name: tuple(map(move, value)) if isinstance(value, tuple) else move(value)
            for name, value in kwargs.items()
        }
        return tuple(map(move, args)), kwargs

    for module in (*spread.model.layers, spread.model.norm):
        module.register_forward_pre_hook(bring, with_kwargs=True)
    prunable = find_prunable_layers(spread)
    assert {layer.stored.device.index for layer in prunable.layers} == {0, 1}
    assert_same(prune(prunable, tokens, Recipe(), micro_batch=2), expected)


def test_perplexity(tokens: Tensor, machine: SimulatedCuda) -> None:
    here, there = tiny("llama"), tiny("llama").cuda()
    recipe = Recipe(pattern="2:4")
    prunable, expected = find_prunable_layers(there), find_prunable_layers(here)
    with prune(prunable, tokens, recipe).applied(prunable), prune(expected, tokens, recipe).applied(expected):
        found, wanted = perplexity(there, tokens), perplexity(here, tokens)
    assert found.window_losses == pytest.approx(wanted.window_losses, rel=1e-12)
    assert machine.waits.total()
    machine.waits.clear()
    perplexity(there, tokens)
    waits = sum(n for (line, _), n in machine.waits.items() if "evaluation/perplexity.py" in line)
    assert waits <= 2 * len(tokens)  # one of transformers


def test_a_model_is_loaded_onto_the_device(llama_folder: Path, machine: SimulatedCuda) -> None:
    model = load(str(llama_folder))
    assert model.device == torch.device("cuda", 0)
    assert load(str(llama_folder), device="cuda:1").device == torch.device("cuda", 1)
    assert load(str(llama_folder), device="cpu").device.type == "cpu"


def test_an_overview_is_decided_where_the_model_is(tokens: Tensor, machine: SimulatedCuda) -> None:
    recipes = (Recipe(method="magnitude"), Recipe(pattern="2:4"))
    summaries = []
    for network in (tiny("llama"), tiny("llama").cuda()):
        prunable = find_prunable_layers(network)
        seen = collect_statistics(prunable, tokens, micro_batch=2).statistics
        machine.crossed.clear()
        own = prune(prunable, tokens, recipes[0], micro_batch=2)
        machine.crossed.clear()
        summaries.append(
            [
                summarise(layer, seen[layer], recipes, kept)
                for layer in prunable.layers
                for kept in ([None] * 2, [own, None])
            ]
        )
    assert summaries[0] == summaries[1]
    # Norms and packed masks alone: an eighth of a byte for a weight.
    weights = sum(layer.stored.numel() for layer in prunable.layers)
    assert sum(machine.crossed.values()) < weights / 2


def test_texts_are_written_as_on_a_cpu(llama_folder: Path, tokens: Tensor, machine: SimulatedCuda) -> None:
    written = []
    for device in ("cpu", "cuda:1"):
        model = load(str(llama_folder), device=device, dtype="float32")
        prunings = [prune(model.prunable, tokens, Recipe(method=name)) for name in ("wanda", "sparsegpt")]
        for temperature in (0.0, 0.9):
            sampling = Sampling(new_tokens=6, temperature=temperature, seed=3)
            torch.manual_seed(0)
            texts = generate_side_by_side(model, tokens[:1, :8], prunings, sampling)
            written.append([(text.tokens, text.perplexity) for text in texts])
    assert written[:2] == written[2:]


@pytest.mark.parametrize("kind", ["folder", "packed", "masks"])
def test_exports_are_the_cpus(
    kind: str, llama_folder: Path, tokens: Tensor, tmp_path: Path, machine: SimulatedCuda
) -> None:
    for device in ("cpu", "cuda"):
        model = load(str(llama_folder), device=device, dtype="float32")
        pruning = prune(model.prunable, tokens, Recipe(method="sparsegpt", pattern="2:4"), micro_batch=2)
        save_pruned(model, pruning, tokens, {"text": "random"}, tmp_path / device, kind=kind)
    names = {file.name for file in (tmp_path / "cpu").iterdir()}
    assert names == {file.name for file in (tmp_path / "cuda").iterdir()}
    for name in (name for name in names if name.endswith(".safetensors")):
        here, there = (load_file(tmp_path / device / name) for device in ("cpu", "cuda"))
        assert here.keys() == there.keys()
        assert all(here[key].equal(there[key]) for key in here)
