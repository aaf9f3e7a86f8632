"""Point after point: what is drawn, kept and shared, and what becomes of a failure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, dequantize, quantize
from torch import Tensor

from tests.support.models import assert_untouched, snapshot
from wanda_core import LanguageModel, Recipe, Refused, load, perplexity
from wanda_core.experiments import measurement as module
from wanda_core.experiments.measurement import Measurement
from wanda_core.experiments.points import DENSE, Calibration, Point, with_dense
from wanda_core.method.bits import TYPES
from wanda_core.pruning import prune_model
from wanda_core.pruning.prune_model import prune

WINDOWS = torch.randint(256, (3, 24), generator=torch.Generator().manual_seed(2))
FOUR = Calibration(4)


@pytest.fixture
def model(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


def draw(calibration: Calibration) -> Tensor:
    return torch.randint(256, (calibration.samples, 24), generator=torch.Generator().manual_seed(5))


def test_a_kept_pruning_is_evaluated_as_it_is(model: LanguageModel) -> None:
    recipe = Recipe(sparsity=0.5)
    other = prune(model.prunable, draw(FOUR), Recipe(method="random", sparsity=0.9))
    measurement = Measurement(model, WINDOWS, draw, kept=lambda point: other if point.recipe else None)
    (measured,) = measurement.measure([Point(recipe, FOUR)])
    assert measured.pruning is other
    assert measured.row["sparsity_reached"] == other.sparsity
    with other.applied(model.prunable):
        assert measured.row["perplexity"] == perplexity(model.network, WINDOWS).value


def test_windows_are_drawn_once_for_a_calibration_and_so_is_their_refusal(model: LanguageModel) -> None:
    drawn: list[Calibration] = []
    missing = Calibration(4, "missing")

    def counted(calibration: Calibration) -> Tensor:
        drawn.append(calibration)
        if calibration == missing:
            raise Refused("there is no such text")
        return draw(calibration)

    recipes = [Recipe(sparsity=0.3), Recipe(sparsity=0.6)]
    points = [Point(recipe, calibration) for calibration in (FOUR, missing) for recipe in recipes]
    rows = [measured.row for measured in Measurement(model, WINDOWS, counted).measure([DENSE, *points])]
    assert drawn == [FOUR, missing]
    assert [row["error"] for row in rows] == [None] * 3 + ["there is no such text"] * 2


def test_memory_that_runs_out_is_a_points_reason_and_another_error_is_none(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(model.network)
    points = [Point(Recipe(sparsity=sparsity), FOUR) for sparsity in (0.2, 0.4, 0.6)]

    def fails(error: Exception) -> None:
        def once(prunable: object, tokens: Tensor, recipe: Recipe, **options: object) -> object:
            if recipe.sparsity == 0.4:
                raise error
            return prune(prunable, tokens, recipe, **options)

        monkeypatch.setattr(module, "prune", once)

    fails(torch.OutOfMemoryError("CUDA out of memory"))
    rows = [measured.row for measured in Measurement(model, WINDOWS, draw).measure(points)]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert "out of memory" in rows[1]["error"]
    fails(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        list(Measurement(model, WINDOWS, draw).measure(points))
    assert_untouched(model.network, before)


def test_without_memory_for_gram_matrices_each_point_walks_alone_with_the_same_result(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [Point(Recipe(method=m, schedule="dense"), FOUR) for m in ("wanda", "sparsegpt")]
    shared = [measured.row["perplexity"] for measured in Measurement(model, WINDOWS, draw).measure(points)]
    asked: list[bool] = []

    def too_large(*_: object, gram: bool, **__: object) -> object:
        asked.append(gram)
        raise Refused("the matrices do not fit")

    monkeypatch.setattr(module, "collect_statistics", too_large)
    alone = [measured.row["perplexity"] for measured in Measurement(model, WINDOWS, draw).measure(points)]
    assert asked == [True]  # and not a second time for the second point
    assert alone == shared


def test_an_order_is_found_once_for_all_methods_and_counted_for_each(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    search = prune_model.find_order

    def counted(prunable: Any, norms: Any, pattern: Any, **more: Any) -> Any:
        found.append(str(pattern))
        return search(prunable, norms, pattern, **more)

    monkeypatch.setattr(prune_model, "find_order", counted)
    recipes = [
        Recipe(method=method, pattern=pattern, order="channels")
        for pattern in ("2:4", "4:8")
        for method in ("wanda", "magnitude")
    ]
    before = snapshot(model.network)
    measured = list(Measurement(model, WINDOWS, draw).measure([Point(recipe, FOUR) for recipe in recipes]))
    assert_untouched(model.network, before)
    assert found == ["2:4", "4:8"]
    assert [m.row["order"] for m in measured] == ["channels"] * 4
    assert all(m.row["error"] is None for m in measured)
    first, second = (m.pruning for m in measured[:2])
    assert first.order.same_as(second.order)
    assert second.seconds["order"] == first.seconds["order"] > 0
    assert measured[1].row["prune_seconds"] > second.seconds["order"]
    alone = prune(model.prunable, draw(FOUR), recipes[1])
    assert all((alone.masks[name].bits == mask.bits).all() for name, mask in second.masks.items())


def by_gguf(weight: np.ndarray, bits: int) -> np.ndarray:
    """In F16 where its rows are no whole blocks."""
    kind = GGMLQuantizationType[TYPES[bits if weight.shape[1] % 32 == 0 else 16]]
    return dequantize(quantize(weight, kind), kind)


def test_points_in_other_bits_share_a_pruning_and_the_dense_model_is_measured_in_them(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values that are evaluated are those of the package `gguf`."""
    pruned: list[int] = []
    once = module.prune

    def counted(prunable: Any, windows: Tensor, recipe: Recipe, **more: Any) -> Any:
        pruned.append(recipe.bits)
        return once(prunable, windows, recipe, **more)

    monkeypatch.setattr(module, "prune", counted)
    points = with_dense(Point(Recipe(bits=bits), FOUR) for bits in (16, 8, 4))
    before = snapshot(model.network)
    rows = [measured.row for measured in Measurement(model, WINDOWS, draw).measure(points)]
    assert_untouched(model.network, before)
    assert pruned == [16]
    assert [(row["method"], row["bits"]) for row in rows] == [
        ("dense", 16), ("dense", 8), ("dense", 4), ("wanda", 16), ("wanda", 8), ("wanda", 4),
    ]  # fmt: skip
    own = prune(model.prunable, draw(FOUR), Recipe())
    for row in rows:
        weights = {
            layer: own.weight(layer) if row["method"] == "wanda" else layer.weight
            for layer in model.prunable.layers
        }
        if row["bits"] < 16:
            weights = {
                layer: torch.from_numpy(by_gguf(weight.numpy(), row["bits"]))
                for layer, weight in weights.items()
            }
        with model.prunable.computing_with((x, partial(weights.get, x)) for x in weights):
            assert row["perplexity"] == perplexity(model.network, WINDOWS).value
        assert row["bytes_deflated"] <= row["bytes_file"]
    assert rows[1]["kl_to_dense"] < rows[2]["kl_to_dense"]
