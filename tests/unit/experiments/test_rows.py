"""Rows as JSON and CSV."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wanda_core import Recipe, Refused, load
from wanda_core.experiments.compare import compare
from wanda_core.experiments.points import Calibration, Point, name_of, name_of_point
from wanda_core.experiments.rows import COLUMNS, load_json, save_csv, save_json
from wanda_core.models.language_model import LanguageModel

WINDOWS = torch.randint(256, (5, 40), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model(llama_folder: Path) -> LanguageModel:
    return load(str(llama_folder))


RECIPES = [Recipe(method="magnitude"), Recipe(pattern="2:5"), Recipe(sparsity=0.3)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_stays_valid(tmp_path: Path, value: float) -> None:
    row = dict.fromkeys(COLUMNS) | {
        "method": "wanda",
        "perplexity": value,
        "perplexity_low": value,
    }
    file = tmp_path / "rows.json"
    save_json(file, {"source": "tiny"}, [row])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(file.read_text(), parse_constant=refuse)
    assert content == {
        "schema": 2,
        "protocol": {"source": "tiny"},
        "rows": [row | {"perplexity": None, "perplexity_low": None}],
    }
    assert load_json(file)[1] == content["rows"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"protocol": {}}',
        '{"protocol": {}, "rows": [{"a": 1}]}',
        '{"protocol":1,"rows":[]}',
        json.dumps({"protocol": {}, "rows": [list(COLUMNS)]}),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(content)
    with pytest.raises(Refused, match="does not hold the results"):
        load_json(file)


@pytest.mark.parametrize("schema", [0, 3, True, "2", None, [2]])
def test_rows_of_another_schema_are_refused(tmp_path: Path, schema: object) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"schema": schema, "protocol": {}, "rows": []}))
    with pytest.raises(Refused, match="update Wanda Lab"):
        load_json(file)


def test_rows_of_the_first_schema_are_brought_to_this_one(tmp_path: Path) -> None:
    first = {
        "method": "wanda", "sparsity": 0.5, "sparsity_reached": 0.49, "pattern": "unstructured", "group": "output",
        "allocation": "uniform", "schedule": "layer", "samples": 8, "seed": 0, "perplexity": 12.5,
        "perplexity_low": 11.0, "perplexity_high": 14.0, "prune_seconds": 1.0, "evaluate_seconds": 2.0, "error": None,
    }  # fmt: skip
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"protocol": {"source": "tiny"}, "rows": [first]}))
    (row,) = load_json(file)[1]
    assert tuple(row) == COLUMNS
    assert {key: row[key] for key in first} == first
    assert (row["recovery"], row["order"], row["bits"]) == ("none", "none", 16)
    assert row["window_losses"] is None
    swept = first | {"calibration": "pydoc", "masks_differ": 0.25}
    file.write_text(json.dumps({"protocol": {}, "rows": [swept]}))
    (row,) = load_json(file)[1]
    assert (row["calibration"], row["masks_differ"]) == ("pydoc", 0.25)
    # What a first-schema file holds is the point that is asked for today.
    assert name_of(load_json(file)[1][0] | {"calibration": ""}) == name_of_point(
        Point(Recipe(sparsity=0.5), Calibration(8))
    )


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.json"
    file.write_text("old")

    def full(self: Path, *_args: object, **_options: object) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Refused, match="No space left"):
        save_json(file, {}, [])
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_csv_reads_back(model: LanguageModel, tokens: Tensor, tmp_path: Path) -> None:
    import pandas as pd

    rows = compare(model, tokens, WINDOWS, RECIPES)
    save_csv(tmp_path / "rows.csv", rows)
    read = pd.read_csv(tmp_path / "rows.csv")
    assert tuple(read.columns) == tuple(column for column in COLUMNS if column != "window_losses")
    assert read["perplexity"].tolist()[:2] == [row["perplexity"] for row in rows[:2]]
    assert read["error"].tolist()[2] == rows[2]["error"]
