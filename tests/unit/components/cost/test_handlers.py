"""What the view's parts show is all of one outcome."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from components.cost.handlers import SHOWN, summary_for_browser, values_of
from components.workspace.run_summary import read_runs
from wanda_core import Recipe


def shown(outcome: Any) -> dict[str, str]:
    return dict(zip(SHOWN, map(str, values_of(outcome, "pocket", 10, "error", None)), strict=True))


def test_verdict_table_and_what_a_budget_allows_are_of_the_same_rows(make: Any) -> None:
    half, most = Recipe(method="wanda", sparsity=0.5), Recipe(method="wanda", sparsity=0.8)
    cheap = make([(half, [0.01] * 4), (most, [0.02] * 4)])
    dear = make([(half, [0.5] * 4), (most, [2.0] * 4)])
    # 10% are 0.0953 nats: more than 0.02, and a little under a fifth of 0.5, on the way to 50%.
    assert "80%, the highest measured" in shown(cheap)["reach"]
    assert "10%, between two measured points" in shown(dear)["reach"]
    for part in ("summary", "table"):
        assert "1.01" in shown(cheap)[part]
        assert "1.65" in shown(dear)[part]


def test_without_an_outcome_nothing_of_an_earlier_one_stays() -> None:
    parts = shown(None)
    assert "not measured yet" in parts["summary"]
    assert {parts[name] for name in ("run", "reach", "table", "protocol")} == {""}


def test_the_link_of_a_kept_run_asks_for_the_same_points(make: Any) -> None:
    recipes = [
        Recipe("wanda", pattern="2:4", schedule="block", order=order, recovery=recovery, bits=bits)
        for recovery in ("none", "blocks")
        for order in ("none", "channels")
        for bits in (16, 4)
    ]
    (run,) = read_runs(summary_for_browser(make([(recipe, [3.5] * 4) for recipe in recipes])))
    link = parse_qs(run.link)
    found = {key: link[key] for key in ("amounts", "schedule", "order", "recovery", "bits")}
    assert found == {
        "amounts": ["2:4"], "schedule": ["block"], "order": ["channels"], "recovery": ["blocks"], "bits": ["16,4"],
    }  # fmt: skip
    (plain,) = read_runs(summary_for_browser(make([(Recipe("wanda", 0.5), [3.5] * 4)])))
    assert parse_qs(plain.link).keys() & found.keys() == {"amounts"}
