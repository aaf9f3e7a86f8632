"""The main job on SmolLM2-135M and WikiText-2: perplexities, and the paper's masks from an export alone."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.support.paper import keep_row_by_row, linear_layers
from wanda_core import LanguageModel
from wanda_core.__main__ import main

# The text first: without it no model is loaded.
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("wikitext")]


@pytest.fixture(scope="module")
def run(smollm2_model: LanguageModel, wikitext: Path):
    """Run the command line on the model that is loaded already; loading takes half a minute each time."""

    def command(name: str, *arguments: str, samples: int = 16) -> None:
        windows = ["--samples", str(samples), "--length", "512"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wanda_core.models.load.load", lambda *_, **__: smollm2_model)
            assert (
                main([name, smollm2_model.source, "--calibration", str(wikitext), *windows, *arguments]) == 0
            )

    return command


@pytest.fixture
def perplexities(run, wikitext: Path, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """Measures at 50%: the dense model's perplexity and those of methods, by method."""

    def compare(*methods: str, seed: int) -> dict[str, float]:
        file = tmp_path / "rows.json"
        evaluation = ["--evaluation", str(wikitext), "--windows", "16", "--eval-length", "512"]
        run("compare", "--methods", ",".join(methods), "--seed", str(seed), *evaluation, "--json", str(file))
        content = json.loads(file.read_text())
        assert content["protocol"]["calibration_after"] == 16 * 512
        assert [row["sparsity_reached"] for row in content["rows"][1:]] == pytest.approx([0.5] * len(methods))
        return {row["method"]: row["perplexity"] for row in content["rows"]}

    return compare


@pytest.mark.long
def test_dense_and_wanda(perplexities: Callable[..., dict[str, float]]) -> None:
    found = perplexities("wanda", seed=0)
    assert found["dense"] == pytest.approx(36.6, abs=0.1)
    assert 70 < found["wanda"] < 84


@pytest.mark.long
def test_magnitude_and_another_seed(perplexities: Callable[..., dict[str, float]]) -> None:
    found = perplexities("magnitude", "wanda", seed=1)
    assert 480 < found["magnitude"] < 495
    assert 70 < found["wanda"] < 84


def test_a_truncated_gguf_file_is_one_line(
    smollm2: Path, wikitext: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "half.gguf"
    file.write_bytes(smollm2.read_bytes()[: smollm2.stat().st_size // 2])
    out = tmp_path / "out"
    assert main(["prune", str(file), "--calibration", str(wikitext), "--out", str(out)]) == 2
    error = capfd.readouterr().err
    assert "half.gguf cannot be loaded, it is damaged" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]


def block_by_block(
    network: PreTrainedModel, batches: tuple[Tensor, ...], sparsity: float
) -> list[dict[str, Tensor]]:
    """The procedure of the authors' code for a Llama: batch by batch, norms in float64."""
    hidden = [network.model.embed_tokens(batch) for batch in batches]
    positions = network.model.rotary_emb(hidden[0], torch.arange(batches[0].shape[1])[None])
    masks = []
    for dense, names in zip(network.model.layers, linear_layers(network), strict=True):
        block = copy.deepcopy(dense)
        copies = {name: block.get_submodule(name.split(".", 3)[3]) for name in names}
        squares = {name: torch.zeros(layer.in_features).double() for name, layer in copies.items()}

        def add(name: str, inputs: Tensor, squares: dict[str, Tensor] = squares) -> None:
            squares[name] += inputs.flatten(0, 1).double().square().sum(dim=0)

        for state in hidden:
            hooks = [
                layer.register_forward_pre_hook(lambda _, args, n=name, add=add: add(n, args[0]))
                for name, layer in copies.items()
            ]
            block(state, position_embeddings=positions)
            for hook in hooks:
                hook.remove()
        masks.append({})
        for name, layer in copies.items():
            mask = keep_row_by_row(layer.weight.abs() * squares[name].sqrt().float(), sparsity)
            layer.weight.data *= mask
            masks[-1][name] = mask
        hidden = [_tensor(block(state, position_embeddings=positions)) for state in hidden]
    return masks


def _tensor(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def read_masks(file: Path) -> dict[str, Tensor]:
    """As the export's documentation says: rows of bits, the highest first, and widths in the metadata."""
    with safe_open(file, framework="np") as tensors:
        widths = tensors.metadata()
        return {
            name: torch.from_numpy(np.unpackbits(tensors.get_tensor(name), axis=1)[:, : int(width)]).bool()
            for name, width in widths.items()
        }


@pytest.mark.long
def test_block_schedule_gives_the_papers_masks(run, smollm2_model: LanguageModel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("prune", "--schedule", "block", "--sparsity", "0.5", "--out", str(out), samples=4)
    masks = read_masks(out / "masks.safetensors")
    tokens = load_file(out / "calibration.safetensors")["tokens"]
    assert tokens.shape == (4, 512)

    with torch.no_grad():
        # In batches of the same size: a matrix product rounds otherwise with another number of rows, and a tie that
        # falls the other way is seen by all blocks after it.
        size = json.loads((out / "recipe.json").read_text())["conditions"]["micro_batch"]
        expected = block_by_block(smollm2_model.network, tokens.split(size), 0.5)
    weights = [sum(mask.numel() for mask in block.values()) for block in expected]
    differing = [sum(int((mask != masks[name]).sum()) for name, mask in block.items()) for block in expected]
    print(f"weights that differ, by block: {differing}; of {weights[0]:,} in each")
    assert sum(map(len, expected)) == len(masks)
    assert sum(differing[:10]) <= sum(weights[:10]) / 100_000
    assert sum(differing) <= sum(weights) * 5 / 1000

    written = load_file(out / "model.safetensors")
    layers = {name: layer for block in linear_layers(smollm2_model.network) for name, layer in block.items()}
    for name, layer in layers.items():
        assert_kept_or_zero(written[f"{name}.weight"], layer, masks[name])


def assert_kept_or_zero(written: Tensor, dense: nn.Linear, mask: Tensor) -> None:
    assert torch.equal(written, torch.where(mask, dense.weight, 0))
    assert set((~mask).sum(dim=1).tolist()) == {math.floor(mask.shape[1] * 0.5)}
