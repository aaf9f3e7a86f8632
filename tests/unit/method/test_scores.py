"""Every score under every pattern and comparison group, against a derivation of its own; formats; registration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import oracle
from wanda_core import METHODS, Recipe
from wanda_core.method.input_statistics import InputStatistics
from wanda_core.method.masks import structured_mask, unstructured_mask
from wanda_core.method.scores import SCORES, Score

DETERMINISTIC = [name for name in SCORES if name != "random"]


def _layer(name: str) -> tuple[Tensor, Tensor]:
    """A weight (out, in) and inputs (tokens, in), ordinary or adversarial."""
    draw = torch.Generator().manual_seed(3)
    weight, inputs = torch.randn(9, 24, generator=draw), torch.randn(50, 24, generator=draw)
    inputs *= torch.rand(24, generator=draw) * 3 + 0.1
    if name == "equal":
        weight, inputs = torch.ones(8, 24), torch.ones(4, 24)
    elif name == "zeros":
        weight[:, 5] = inputs[:, 7] = weight[2] = 0
    elif name == "outlier":
        weight[3, 4] = 1e4
        inputs[:, 11] *= 1e4
    elif name == "one row":
        weight = weight[:1]
    elif name == "odd":
        weight, inputs = weight[:, :23], inputs[:, :23]
    return weight, inputs


LAYERS = ["random", "equal", "zeros", "outlier", "one row", "odd"]


def _production_scores(method: str, weight: Tensor, inputs: Tensor) -> Tensor:
    statistics = InputStatistics(inputs.shape[1], inputs.device, len(inputs))
    for part in inputs.split(7):
        statistics.add(part)
    return SCORES[method].function(weight.float(), statistics.norms(), torch.Generator())


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", DETERMINISTIC)
def test_scores_follow_their_formula(method: str, layer: str) -> None:
    weight, inputs = _layer(layer)
    expected = oracle.score(method, weight.numpy(), inputs.numpy())
    np.testing.assert_allclose(_production_scores(method, weight, inputs).numpy(), expected, rtol=2e-6)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("group", ["output", "layer", "input"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("method", DETERMINISTIC)
def test_unstructured_masks(method: str, sparsity: float, group: str, layer: str) -> None:
    weight, inputs = _layer(layer)
    mask = unstructured_mask(_production_scores(method, weight, inputs), sparsity, group)
    expected = oracle.mask(
        oracle.score(method, weight.numpy(), inputs.numpy()), sparsity, "unstructured", group
    )
    assert np.array_equal(mask.numpy(), expected)


@pytest.mark.parametrize("layer", [name for name in LAYERS if name != "odd"])
@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "6:8", "7:12", "11:24"])
@pytest.mark.parametrize("method", DETERMINISTIC)
def test_structured_masks(method: str, pattern: str, layer: str) -> None:
    weight, inputs = _layer(layer)
    keep, among = map(int, pattern.split(":"))
    mask = structured_mask(_production_scores(method, weight, inputs), keep, among)
    expected = oracle.mask(oracle.score(method, weight.numpy(), inputs.numpy()), 0, pattern, None)
    assert np.array_equal(mask.numpy(), expected)


def test_random_scores_follow_the_seed_alone() -> None:
    weight, norms = torch.randn(300, 400), torch.ones(400)
    first, second, other = (
        SCORES["random"].function(weight, norms, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert abs(torch.corrcoef(torch.stack([first.flatten(), weight.abs().flatten()]))[0, 1]) < 0.02


def test_a_registered_score_is_a_method_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def smallest_input(weight: Tensor, norms: Tensor, generator: torch.Generator) -> Tensor:
        return (-norms).expand_as(weight)

    assert "smallest-input" not in METHODS
    monkeypatch.setitem(SCORES, "smallest-input", Score(smallest_input, needs_norms=True, group="input"))
    assert {"smallest-input", "smallest-input+admm"} <= set(METHODS)
    assert Recipe(method="smallest-input").group == "input"
    assert METHODS["smallest-input"].needs_inputs

    from wanda_core.__main__ import main

    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert "smallest-input" in capsys.readouterr().out

    import gradio as gr

    from components.recipe.layout import build

    with gr.Blocks() as page:
        build(["pocket"])
    methods = next(block for block in page.blocks.values() if block.elem_id == "methods")
    assert "smallest-input" in [value for _, value in methods.choices]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", DETERMINISTIC)
def test_half_formats_differ_from_float32_at_near_ties_only(method: str, dtype: torch.dtype) -> None:
    """The same values, held in 16 bits, are scored as in float32."""
    draw = torch.Generator().manual_seed(5)
    weight = torch.randn(64, 256, generator=draw).to(dtype)
    inputs = (torch.randn(512, 256, generator=draw) * torch.rand(256, generator=draw)).to(dtype)
    scores = _production_scores(method, weight, inputs)
    exact = torch.from_numpy(oracle.score(method, weight.double().numpy(), inputs.double().numpy()))
    mask, expected = (unstructured_mask(s, 0.5, "output") for s in (scores, exact.float()))
    threshold = exact.sort(dim=1).values[:, 127:129].mean(dim=1, keepdim=True)
    differing = mask != expected
    assert differing.sum() <= 4
    assert ((exact - threshold).abs()[differing] < 1e-5 * threshold.expand_as(exact)[differing]).all()
    assert scores.dtype == torch.float32
