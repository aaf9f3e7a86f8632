"""A look at a model that was pruned elsewhere, on the page: what it finds, and what it says."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from components.cost.pruned_already import Checked, CheckModel, chart, check_model, report
from components.jobs.job import Progress
from components.recipe.layout import DEFAULTS
from components.workspace.setup import Setup
from tests.support.models import byte_tokenizer, tiny
from tests.unit.components.cost.conftest import PROTOCOL
from wanda_core import Refused, load, perplexity, read_text
from wanda_core.experiments.check import LayerCheck, Sizes

PANEL = DEFAULTS | {
    "calibration": "stories",
    "evaluation": "stories",
    "samples": 2,
    "length": 32,
    "windows": 2,
}


@pytest.fixture
def pruned(tmp_path: Path) -> str:
    """A model with one layer 2:4 and another without its first half, by hand."""
    network = tiny("llama")
    network.model.layers[0].self_attn.q_proj.weight.view(-1, 4)[:, 1:3] = 0
    up = network.model.layers[1].mlp.up_proj.weight
    up[: len(up) // 2] = 0
    network.save_pretrained(tmp_path / "pruned")
    byte_tokenizer().save_pretrained(tmp_path / "pruned")
    return str(tmp_path / "pruned")


def test_the_job_finds_zeros_sizes_and_both_perplexities(pruned: str, llama_folder: Path) -> None:
    setup = Setup(pruned, "stories", "stories", samples=2, length=32, windows=2)
    events: list[Any] = []
    CheckModel(setup, str(llama_folder)).compute(events.append, threading.Event())
    found = events[-1]
    assert isinstance(found, Checked)
    model = load(pruned)
    weights = [layer.weight for layer in model.prunable.layers]
    zeros = sum(int(weight.eq(0).sum()) for weight in weights)
    assert found.sparsity == zeros / sum(weight.numel() for weight in weights)
    assert found.sizes.file == (Path(pruned) / "model.safetensors").stat().st_size
    for folder, row in ((pruned, found.row), (str(llama_folder), found.dense)):
        again = load(folder)
        ids = again.tokenizer(_text(), add_special_tokens=False)["input_ids"][:64]
        assert row is not None
        wanted = perplexity(again.network, torch.tensor(ids).view(2, 32)).value
        assert row["perplexity"] == pytest.approx(wanted, rel=1e-6)
    shares = [event.share for event in events if isinstance(event, Progress)]
    assert shares == sorted(shares)
    said = report(found)
    assert "pruned is pruned: <b>" in said
    assert "2:4 holds in 1 of them" in said
    assert found.dense is not None
    ratio = found.row["perplexity"] / found.dense["perplexity"]
    assert re.search(rf"{ratio:#.3g} \(.* to .*\) times that of {llama_folder.name}", said)
    drawn = chart(found)
    assert drawn is not None
    cells = json.loads(drawn.plot)["data"][0]
    assert cells["y"][0] == "self_attn.q_proj"
    assert cells["z"][0][0] == 50


def _text() -> str:
    return read_text("stories", "evaluation").text


def test_a_dense_model_is_said_to_be_dense(llama_folder: Path) -> None:
    events: list[Any] = []
    setup = Setup(str(llama_folder), "stories", "stories", samples=2, length=32, windows=2)
    CheckModel(setup).compute(events.append, threading.Event())
    assert f"{llama_folder.name} is not pruned: <b>0.0%</b>" in report(events[-1])
    assert "Kept that changed" not in report(events[-1])
    assert chart(events[-1]) is None


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("pocket", "this is the model itself"),
        ("/etc/passwd", "Hub id"),
        (["pocket"], "is the name of a model"),
    ],
)
def test_what_it_was_pruned_from_is_checked(before: object, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check_model(PANEL | {"source": "pocket", "pruned_from": before}, ["pocket"])


def test_nothing_need_be_known_of_the_dense_model() -> None:
    job = check_model(PANEL | {"source": "pocket", "pruned_from": " "}, ["pocket"])
    assert (job.setup.source, job.pruned_from) == ("pocket", "")


def _checked(shares: Sequence[float], row: dict[str, Any], **more: Any) -> Checked:
    """Of one block, a layer with each of these shares of zeros, all of one kind."""
    layers = [
        LayerCheck(f"mlp.experts.{n}", 0, "mlp", 1000, int(1000 * s), None, None)
        for n, s in enumerate(shares)
    ]
    layers.append(LayerCheck("mlp.router", 0, "router", 1000, 100, None, None))
    protocol = PROTOCOL | {"bytes_per_token": 4.0} | more
    return Checked(protocol, tuple(layers), Sizes(10, 8, 5), {"perplexity": 8.0} | row)


UNSURE = {"perplexity_low": None, "perplexity_high": None, "evaluation_sha256": "e0"}


def test_experts_of_a_block_are_counted_together() -> None:
    drawn = chart(_checked([0.9, 0.1, 0.0, 0.5], UNSURE))
    assert drawn is not None
    cells = json.loads(drawn.plot)["data"][0]
    assert dict(zip(cells["y"], (row[0] for row in cells["z"]), strict=True)) == {"mlp": 37.5, "router": 10}


def test_few_zeros_may_be_of_rounding_and_a_broken_model_is_called_so() -> None:
    assert "or rounded to few bits" in report(_checked([0.1, 0.12], UNSURE))
    broken = report(_checked([0.5, 0.5], UNSURE | {"perplexity": math.inf}))
    assert "is pruned: <b>" in broken
    assert "It is broken" in broken
    assert "8, 0.75 bits per byte of text" in report(_checked([0.5], UNSURE))
