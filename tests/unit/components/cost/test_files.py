"""Files of results: written for downloads, and read with care when they come back."""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.cost.files import ERROR_CHARACTERS, read_saved, result_file, saved_outcome
from components.cost.kept import keep, shown
from wanda_core import Recipe, Refused
from wanda_core.assets import ASSETS
from wanda_core.experiments.rows import load_json

RECORDED = ASSETS / "recorded"
LITTLE, MORE = (0.10, 0.12, 0.09, 0.11), (0.29, 0.33, 0.30, 0.28)


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


def content() -> Any:
    return json.loads((RECORDED / "cost-pocket.json").read_text(encoding="utf-8"))


def saved(tmp_path: Path, damage: Callable[[Any], object] = lambda content: None) -> Path:
    held = content()
    held.pop("layers")
    damage(held)
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(held), encoding="utf-8")
    return file


def test_what_is_downloaded_opens_again(make: Any) -> None:
    outcome = make(
        [(Recipe(method="wanda", sparsity=0.5), LITTLE), (Recipe(method="magnitude", sparsity=0.5), MORE)]
    )
    file = Path(result_file(outcome, "json"))
    protocol, rows = load_json(file)
    assert protocol["source"] == "pocket"
    assert [row["perplexity"] for row in rows] == [row["perplexity"] for row in outcome.rows]
    again = read_saved(file)
    assert (again.origin, again.planned, again.asked) == ("saved", 3, None)
    assert len(Path(result_file(outcome, "csv")).read_text(encoding="utf-8").splitlines()) == 4


def test_a_file_is_written_once_for_all_who_ask_at_the_same_time(make: Any) -> None:
    outcome = make([(Recipe(method="wanda", sparsity=0.5), LITTLE)])
    found: list[str] = []
    faults: list[Exception] = []

    def ask() -> None:
        try:
            found.append(result_file(outcome, "json"))
        except Exception as error:
            faults.append(error)

    asking = [threading.Thread(target=ask) for _ in range(30)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert faults == []
    assert len(set(found)) == 1
    assert [each.name for each in Path(found[0]).parent.iterdir()] == [
        Path(found[0]).name
    ]  # nothing half-written


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("rows"),
        lambda c: c.update(rows=[]),
        lambda c: c["rows"][1].update(perplexity="12"),
        lambda c: c["rows"][1].update(perplexity=-1),
        lambda c: c["rows"][1].update(perplexity=0),
        lambda c: c["rows"][1].update(perplexity=5e-324),
        lambda c: c["rows"][1].update(perplexity=10**300),
        lambda c: c["rows"][1].update(perplexity=10**400),
        lambda c: c["rows"][1].update(samples=10**300),
        lambda c: c["rows"][1].update(seed=True),
        lambda c: c["rows"][1].update(sparsity=math.inf),
        lambda c: c["rows"][1].update(sparsity=7),
        lambda c: c["rows"][1].update(method="<b onmouseover=alert(1)>x</b>"),
        lambda c: c["rows"][1].update(method="dense <img src=x>"),
        lambda c: c["rows"][1].update(error=["a"]),
        lambda c: c["rows"][1].update(error="half a fox \ud83e"),
        lambda c: c["rows"][1].update(window_losses=[1, "x"]),
        lambda c: c["rows"][1].update(window_losses={"a": 1}),
        lambda c: c["rows"][1].update(window_losses=[10**300]),
        lambda c: c["rows"][1].update(evaluation_sha256=["a"]),
        lambda c: c["protocol"].update(date="half a fox \ud83e"),
        lambda c: c["protocol"].pop("device"),
        lambda c: c["protocol"].update(threads={"a": []}),
        lambda c: c["protocol"].update(threads=10**300),
        lambda c: c["protocol"].update(source="x" * 400),
        lambda c: c.update(schema=99),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, damage: Callable[[Any], object]) -> None:
    assert read_saved(saved(tmp_path)).rows
    with pytest.raises(Refused, match="no saved measurement"):
        read_saved(saved(tmp_path, damage))


def test_a_deep_one_and_a_large_one_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "saved.json"
    for text in ("[" * 100_000, " " * 2_000_001):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(Refused, match="no saved measurement"):
            read_saved(file)


def test_an_error_of_megabytes_is_not_kept(tmp_path: Path) -> None:
    outcome = read_saved(saved(tmp_path, lambda c: c["rows"][1].update(error="x" * 1_900_000)))
    assert len(outcome.rows[1]["error"]) == ERROR_CHARACTERS
    keep(outcome)
    assert shown(outcome.run) is outcome


@pytest.mark.parametrize(
    ("place", "stays"),
    [
        (f"uploads/{'0f' * 32}/sweep.json", False),
        ("uploads/sweeps/amounts/wanda-lab.json", True),
        ("uploads/sweep.json", True),
        (f"elsewhere/{'0f' * 32}/sweep.json", True),
    ],
)
def test_only_an_upload_is_read_and_then_deleted(tmp_path: Path, place: str, stays: bool) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    shutil.copy(RECORDED / "sweep-amounts.json", file)
    if stays:
        with pytest.raises(Refused, match="choose a file first"):
            saved_outcome(str(file))
    else:
        assert saved_outcome(str(file)).origin == "saved"
    assert file.exists() == stays
