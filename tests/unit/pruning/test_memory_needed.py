"""How much a walk needs: grows with what it holds, and is said before the first forward."""

from __future__ import annotations

import pytest

from wanda_core import Refused
from wanda_core.method.recipe import SCHEDULES
from wanda_core.models.prunable_layers import PrunableModel
from wanda_core.pruning import memory_needed as memory
from wanda_core.pruning.memory_needed import refuse_if_too_large, walk_bytes


def test_more_tokens_need_more_and_layer_the_most(llama: PrunableModel) -> None:
    needed = {s: [walk_bytes(llama, n, 512, 1, s) for n in (16, 32, 64)] for s in SCHEDULES}
    for schedule in ("layer", "block"):
        first, second, third = needed[schedule]
        assert third - second == 2 * (second - first) > 0
    assert needed["dense"][0] == needed["dense"][2]
    assert needed["layer"][0] > needed["block"][0] > needed["dense"][0]


def test_what_fits_is_not_refused(llama: PrunableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = walk_bytes(llama, 64, 512, 1, "layer")
    monkeypatch.setattr(memory, "free_bytes", lambda _: exact)
    refuse_if_too_large(llama, 64, 512, 1, "layer")
    with pytest.raises(Refused, match=r"65 windows of 512 tokens under schedule layer needs"):
        refuse_if_too_large(llama, 65, 512, 1, "layer")


def test_the_refusal_names_what_would_fit(llama: PrunableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = 2**14
    free = walk_bytes(llama, samples, 512, 1, "block")
    monkeypatch.setattr(memory, "free_bytes", lambda _: free)
    with pytest.raises(Refused, match=r"schedule block needs .* or samples (\d+) would fit") as caught:
        refuse_if_too_large(llama, samples, 512, 1, "layer")
    fewer = int(str(caught.value).split("or samples ")[1].split()[0])
    refuse_if_too_large(llama, fewer, 512, 1, "layer")
    assert walk_bytes(llama, 2 * fewer, 512, 1, "layer") > free
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1)
    with pytest.raises(Refused, match="lower length"):
        refuse_if_too_large(llama, 1, 512, 1, "dense")
