"""Sweeps: which points there are, what is shared, what failing ones leave; budgets by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from wanda_core import Recipe, Refused, load
from wanda_core.experiments.points import DENSE, Calibration, Point
from wanda_core.experiments.sweep import Axes, share_differing, sweep
from wanda_core.models.language_model import LanguageModel
from wanda_core.pruning.prune_model import prune

WINDOWS = torch.randint(256, (3, 24), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


def draw(calibration: Calibration) -> Tensor:
    if calibration.text == "gated":
        raise Refused("gated is gated: accept its terms")
    if calibration.text == "large":
        raise MemoryError
    generator = torch.Generator().manual_seed(calibration.seed)
    return torch.randint(256, (calibration.samples, 24), generator=generator)


def test_points_are_cheapest_first_and_each_is_there_once() -> None:
    axes = Axes(("sparsegpt", "wanda", "magnitude"), (0.5,), ("2:4",), samples=(4, 1), seeds=(0, 1))
    points = axes.points()
    assert points[0] == DENSE
    assert len(set(points)) == len(points) == 1 + 2 + 8 + 8  # magnitude knows neither samples nor seeds
    assert [p.recipe.method for p in points[1:]] == ["magnitude"] * 2 + ["wanda"] * 8 + ["sparsegpt"] * 8
    assert [p.calibration.samples for p in points[3:11]] == [1] * 4 + [4] * 4
    assert all(p.recipe.seed == p.calibration.seed for p in points[1:])


def test_under_dense_one_forward_serves_all_with_the_same_result(model: LanguageModel) -> None:
    axes = Axes(("wanda", "ria", "sparsegpt"), (0.3, 0.6), ("2:4",), samples=(8,), schedule="dense")
    seen: list[int] = []
    hook = model.prunable.decoder.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].shape[0]), with_kwargs=True
    )
    measured = list(sweep(model, WINDOWS, axes.points(), draw))
    hook.remove()
    evaluated = 3 * len(measured)
    assert sum(seen) == evaluated + 8
    for point in measured[1:]:
        alone = prune(model.prunable, draw(point.point.calibration), point.point.recipe)
        assert share_differing(alone, point.pruning) == 0
        assert alone.reports[-1].error == point.pruning.reports[-1].error


@pytest.mark.parametrize(("text", "reason"), [("gated", "accept its terms"), ("large", "out of memory")])
def test_a_point_that_fails_leaves_its_reason_and_the_others_go_on(
    model: LanguageModel, text: str, reason: str
) -> None:
    axes = Axes(("magnitude", "wanda"), (0.5,), samples=(2,), texts=("fine", text, "good"))
    rows = [(m.point, m.row) for m in sweep(model, WINDOWS, axes.points(), draw)]
    failed = [(point, row) for point, row in rows if row["error"]]
    assert [point.calibration.text for point, _ in failed] == [text]
    assert reason in failed[0][1]["error"]
    assert len(rows) == 5
    assert all(row["perplexity"] for _, row in rows if not row["error"])


def test_what_is_known_or_kept_is_not_made_again(model: LanguageModel) -> None:
    points = Axes(("wanda",), (0.3, 0.5), samples=(4,)).points()
    first = list(sweep(model, WINDOWS, points, draw))
    doing: list[str] = []
    again = list(
        sweep(
            model,
            WINDOWS,
            points,
            draw,
            known=[first[1].row],
            kept=lambda point: first[2].pruning if point == points[2] else None,
            on_progress=lambda what, *_: doing.append(what),
        )
    )
    assert [m.row["perplexity"] for m in again] == [m.row["perplexity"] for m in first]
    assert set(doing) == {"evaluating dense", "evaluating wanda 50%"}


def test_share_of_weights_whose_fate_differs(model: LanguageModel) -> None:
    prunings = [
        prune(model.prunable, draw(Calibration(2, seed=seed)), Recipe(sparsity=0.4, seed=seed))
        for seed in (0, 1)
    ]
    masks = [torch.cat([m.unpack().flatten() for m in p.masks.values()]) for p in prunings]
    expected = (masks[0] != masks[1]).double().mean().item()
    assert expected > 0.01
    assert share_differing(*prunings) == pytest.approx(expected, abs=1e-12)


def test_weights_are_compared_wherever_an_order_put_them(model: LanguageModel) -> None:
    recipe = Recipe(pattern="2:4", order="channels")
    first, second = (prune(model.prunable, draw(Calibration(2, seed=seed)), recipe) for seed in (0, 1))
    assert share_differing(first, first) == 0
    found, weights = 0, 0
    for name in first.masks:
        one, other = (p.order.take_back(name, p.masks[name].unpack()) for p in (first, second))
        found, weights = found + int((one != other).sum()), weights + one.numel()
    assert share_differing(first, second) == pytest.approx(found / weights, abs=1e-12)
    plain = prune(model.prunable, draw(Calibration(2, seed=0)), Recipe(pattern="2:4"))
    # Most weights have their fate from their score, not from their neighbours; in the wrong places half would differ.
    assert 0 < share_differing(first, plain) < 0.35


def test_rows_say_how_far_their_masks_are_from_the_first_calibrations(model: LanguageModel) -> None:
    points = Axes(("magnitude", "wanda"), (0.4,), samples=(2,), seeds=(0, 1), texts=("one",)).points()
    measured = list(sweep(model, WINDOWS, points, draw))
    assert [m.row["calibration"] for m in measured] == [None, "one", "one", "one"]
    dense, magnitude, first, second = measured
    assert dense.row["masks_differ"] is None
    assert magnitude.row["masks_differ"] == first.row["masks_differ"] == 0
    assert second.row["masks_differ"] == share_differing(first.pruning, second.pruning) > 0.01


def test_points_name_their_calibration(model: LanguageModel) -> None:
    point = Point(Recipe(sparsity=0.5, seed=3), Calibration(4, "stories", 3))
    (measured,) = sweep(model, WINDOWS, [point], draw)
    assert (measured.row["samples"], measured.row["seed"]) == (4, 3)
