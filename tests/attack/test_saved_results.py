"""Saved results from anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.cost.files import read_saved
from components.workspace.run_summary import as_json, read_runs, summary_of
from wanda_core import Refused
from wanda_core.assets import ASSETS
from wanda_core.experiments.rows import load_json

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("warm", "soon", "in_bounds")]


def _content() -> Any:
    held = json.loads((ASSETS / "recorded" / "cost-pocket.json").read_text(encoding="utf-8"))
    held.pop("layers")
    return held


def _row(**values: object) -> Callable[[Any], object]:
    return lambda content: content["rows"][1].update(values)


def _protocol(**values: object) -> Callable[[Any], object]:
    return lambda content: content["protocol"].update(values)


SAVED: dict[str, Callable[[Any], object] | str] = {
    "deep": "[" * 100_000,
    "a deep row": '{"schema": 2, "protocol": {}, "rows": ' + '[{"a":' * 20_000,
    "long": " " * 2_000_001,
    "empty": "",
    "no JSON": "method,perplexity\nwanda,3",
    "half": '{"schema": 2, "protocol": {}, "rows": [',
    "a number": "7",
    "more digits than can be": '{"schema": ' + "9" * 5000 + "}",
    "a perplexity of zero": _row(perplexity=0),
    "a perplexity of words": _row(perplexity="12"),
    "a perplexity that is a list": _row(perplexity=[1]),
    "an integer of 300 digits": _row(perplexity=10**300),
    "NaN": _row(perplexity=math.nan),
    "infinite": _row(perplexity=math.inf),
    "a sparsity that is a list": _row(sparsity=[0.5]),
    "a sparsity of objects": _row(sparsity={"a": 1}),
    "a seed that is true": _row(seed=True),
    "a method of markup": _row(method="<img src=x onerror=alert(1)>"),
    "a method of a formula": _row(method="=cmd()"),
    "half a character in a method": _row(method="\ud83e"),
    "half a character in an error": _row(error="\ud83e"),
    "an error that is an object": _row(error={"a": "b"}),
    "losses of words": _row(window_losses=["1"]),
    "losses of lists": _row(window_losses=[[1]]),
    "infinite losses": _row(window_losses=[math.inf]),
    "a column too many": _row(extra=1),
    "a text that is a number": _row(calibration=7),
    "no protocol": lambda content: content.pop("protocol"),
    "a protocol that is a list": lambda content: content.update(protocol=[1]),
    "a protocol of lists": _protocol(threads=[1]),
    "a protocol of 300 digits": _protocol(samples=10**300),
    "a deep protocol": _protocol(device={"a": {"b": {}}}),
    "rows that are words": lambda content: content.update(rows=["wanda"]),
    "no rows": lambda content: content.update(rows=[]),
    "too many rows": lambda content: content.update(rows=[{}] * 100_000),
    "a schema of the future": lambda content: content.update(schema=99),
    "a schema that is true": lambda content: content.update(schema=True),
}


@pytest.mark.parametrize("kind", SAVED)
def test_hostile_results_are_refused(kind: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    tried("hostile results")
    damage, file = SAVED[kind], tmp_path / "saved.json"
    if isinstance(damage, str):
        file.write_text(damage, encoding="utf-8")
    else:
        content = _content()
        damage(content)
        file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(Refused, match="no saved measurement"):
        read_saved(file)


WORSE = {name: damage for name, damage in SAVED.items() if any(
    word in name for word in ("deep", "words", "list", "object", "NaN", "infinite", "digits", "true", "schema")
) and "protocol of" not in name and name != "a deep protocol"}  # fmt: skip


@pytest.mark.parametrize("kind", WORSE)
def test_hostile_results_are_not_resumed(kind: str, tmp_path: Path, tried: Callable[..., None]) -> None:
    """What `compare --resume` reads: values of other kinds would end it in the middle."""
    tried("hostile results")
    damage, file = WORSE[kind], tmp_path / "rows.json"
    content = damage
    if not isinstance(damage, str):
        held = _content()
        damage(held)
        content = json.dumps(held)
    file.write_text(content, encoding="utf-8")
    with pytest.raises(Refused, match=r"does not hold the results|its schema is"):
        load_json(file)


def _run(**values: object) -> Callable[[Any], object]:
    return lambda content: content["runs"][0].update(values)


def _point(**values: object) -> Callable[[Any], object]:
    return lambda content: content["runs"][0]["points"][1].update(values)


RUNS: dict[str, Callable[[Any], object] | str] = {
    "deep": "[" * 100_000,
    "long": " " * 1_000_001,
    "no JSON": "runs",
    "more digits than can be": '{"schema": 1, "runs": [' + "9" * 5000 + "]}",
    "a list": "[]",
    "a schema that is a list": lambda content: content.update(schema=[]),
    "runs that are an object": lambda content: content.update(runs={}),
    "a run that is a word": lambda content: content.update(runs=["x"]),
    "too many": lambda content: content.update(runs=content["runs"] * 51),
    "a column too many": _run(extra=1),
    "no points": _run(points=[]),
    "points that are words": _run(points=["wanda"]),
    "too many points": lambda content: _run(points=content["runs"][0]["points"] * 400)(content),
    **{
        f"{name} that is {what}": _run(**{name: value})
        for name in ("id", "date", "source", "text", "evaluation_sha256", "link", "note")
        for what, value in {
            "a list": [],
            "nothing": None,
            "half a character": "\ud83e",
            "long": "x" * 3000,
        }.items()
    },
    **{
        f"a point's {name} that is {what}": _point(**{name: value})
        for name in ("method", "pattern", "recovery")
        for what, value in {"a list": [], "an object": {}, "a number": 7, "another": "<b>"}.items()
    },
    **{
        f"a point's {name} that is {what}": _point(**{name: value})
        for name in ("sparsity", "perplexity", "perplexity_low", "kl_to_dense")
        for what, value in {"a list": [], "a word": "1", "true": True, "huge": 10**301, "below": -1}.items()
    },
    "NaN": _point(perplexity=math.nan),
}


@pytest.mark.parametrize("kind", RUNS)
def test_hostile_runs_are_refused(kind: str, tried: Callable[..., None]) -> None:
    """Of a browser's own store, or imported."""
    tried("hostile results")
    damage = RUNS[kind]
    text = damage if isinstance(damage, str) else ""
    if not isinstance(damage, str):
        held = _content()
        content = json.loads(as_json([summary_of("0" * 16, held["protocol"], held["rows"][:3], "samples=2")]))
        read_runs(json.dumps(content))
        damage(content)
        text = json.dumps(content)
    with pytest.raises(Refused, match=r"no file of runs|another version"):
        read_runs(text)
