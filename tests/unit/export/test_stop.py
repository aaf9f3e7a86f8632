"""An export that is stopped ends at every place, and nothing is left."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.support.models import assert_untouched, snapshot
from wanda_core import Recipe, Stopped, load
from wanda_core.export import folder as module
from wanda_core.pruning.prune_model import prune


class SetAt(threading.Event):
    """Set from the nth time on that it is looked at; counts the looks."""

    def __init__(self, nth: float) -> None:
        super().__init__()
        self.nth, self.looks = nth, 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks >= self.nth


@pytest.mark.parametrize("kind", ["folder", "packed", "masks"])
def test_stop_at_any_place_leaves_nothing(
    kind: Any, llama_folder: Path, tokens: Tensor, tmp_path: Path
) -> None:
    model = load(str(llama_folder))
    pruning = prune(model.prunable, tokens, Recipe())
    before = snapshot(model.network)
    (tmp_path / "whole").mkdir()
    never = SetAt(float("inf"))
    module.save_pruned(model, pruning, tokens, {}, tmp_path / "whole" / "out", kind=kind, stop=never)
    # A look before each layer that is applied, packed or unpacked, and each tensor that is compared; before the masks,
    # and at the end.
    layers, tensors = len(model.prunable.layers), len(before)
    assert (
        never.looks == {"masks": 0, "folder": 2 * layers + tensors, "packed": 4 * layers + tensors}[kind] + 2
    )
    for nth in range(1, never.looks + 1):
        with pytest.raises(Stopped):
            module.save_pruned(model, pruning, tokens, {}, tmp_path / "out", kind=kind, stop=SetAt(nth))
        assert [path.name for path in tmp_path.iterdir()] == ["whole"], nth
    assert_untouched(model.network, before)
