"""An update is a line: with it there are methods, and a walk gives its values. What is unknown is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support.models import tiny
from wanda_core import METHODS, Recipe, Refused, find_prunable_layers
from wanda_core.export.kinds import KINDS, kind_named
from wanda_core.lazy import target
from wanda_core.method.pattern import Pattern
from wanda_core.method.scores import SCORES, Score
from wanda_core.method.updates import NONE, UPDATES, Update, update_named
from wanda_core.pruning.prune_model import prune


class Halved:
    """Kept weights become half of what they were."""

    note = "halved"

    @classmethod
    def of(cls, gram: Tensor) -> Halved:
        return cls()

    def update(
        self, weight: Tensor, mask: Tensor | None, sparsity: float, pattern: Pattern
    ) -> tuple[Tensor, Tensor]:
        assert mask is not None
        return weight.float() * mask / 2, mask


def test_a_registered_update_goes_with_every_score(monkeypatch: pytest.MonkeyPatch, tokens: Tensor) -> None:
    assert "wanda+half" not in METHODS
    monkeypatch.setitem(UPDATES, "half", Update(f"{__name__}:Halved"))
    assert {f"{score}+half" for score in SCORES} <= set(METHODS)
    prunable = find_prunable_layers(tiny("llama"))
    plain = prune(prunable, tokens, Recipe(method="magnitude"))
    halved = prune(prunable, tokens, Recipe(method="magnitude+half"))
    for layer, report in zip(prunable.layers, halved.reports, strict=True):
        assert report.note == "halved"
        assert torch.equal(halved.weight(layer), plain.weight(layer) / 2)


def test_a_score_may_ask_for_the_gram_matrix(monkeypatch: pytest.MonkeyPatch, tokens: Tensor) -> None:
    seen = []

    def correlated(weight: Tensor, norms: Tensor, generator: torch.Generator, gram: Tensor) -> Tensor:
        seen.append((norms, gram))
        return weight.abs()

    monkeypatch.setitem(SCORES, "correlated", Score(correlated, needs_norms=True, needs_gram=True))
    prunable = find_prunable_layers(tiny("llama"))
    prune(prunable, tokens, Recipe(method="correlated"))
    assert len(seen) == len(prunable.layers)
    for norms, gram in seen:  # the diagonal of X^T X holds the squares of the norms
        torch.testing.assert_close(gram.diagonal().sqrt(), norms, rtol=1e-4, atol=1e-5)


def test_an_unknown_name_is_refused_and_never_another_one() -> None:
    assert update_named(NONE) is None
    with pytest.raises(Refused, match="no update `adm`: choose from none, sparsegpt, admm"):
        update_named("adm")
    with pytest.raises(Refused, match="no kind of export `zip`"):
        kind_named("zip")
    for name in ("wanda+none", "wanda+sparsegpt", "wanda+admm+admm", "+admm"):
        with pytest.raises(Refused, match="no method"):
            Recipe(method=name)


def test_every_target_is_there() -> None:
    for kind in KINDS.values():
        assert all(callable(target(name)) for name in (kind.write, kind.read) if name)
    for update in UPDATES.values():
        assert callable(target(update.factor).of)


def test_methods_are_the_ones_of_old_in_the_same_order() -> None:
    assert list(METHODS) == [
        "magnitude", "wanda", "ria", "random", "sparsegpt", "admm",
        "magnitude+admm", "wanda+admm", "ria+admm", "random+admm",
    ]  # fmt: skip
