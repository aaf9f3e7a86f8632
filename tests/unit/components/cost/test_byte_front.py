"""What the bytes buy, in words and in the chart."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from gradio.utils import get_upload_folder

from components.cost.byte_front import add_model, remove_models, sentence, values_of
from components.cost.byte_places import OWN_FILE, places
from components.cost.kept import keep, recorded_sweep
from tests.unit.components.cost.conftest import PROTOCOL, Make
from wanda_core import Recipe
from wanda_core.experiments.rows import COLUMNS, to_json

HALF, QUARTER = Recipe(sparsity=0.5), Recipe(sparsity=0.5, bits=4)


@pytest.fixture
def outcome(make: Make) -> Any:
    """Dense, dense in 4 bits, half pruned, and both."""
    found = make([(HALF, [3.5, 3.6, 3.4, 3.5]), (QUARTER, [3.9, 3.9, 3.8, 3.9])])
    found.protocol = dict(found.protocol)
    for row, size in zip(found.rows, (100, 30, 60, 20), strict=True):
        row |= {"bytes_file": 2 * size, "bytes_packed": size, "bytes_deflated": size + 1}
    return found


def test_the_best_within_so_many_bytes_is_named(outcome: Any) -> None:
    found = places(outcome, "packed")
    assert [place.label for place in found] == ["Dense", "Dense 4-bit", "Wanda 50%", "Wanda 50% 4-bit"]
    # Dense in 4 bits has the dense model's losses here: it beats half pruned in bytes and perplexity.
    assert "<b>Dense 4-bit</b>" in sentence(found, 70, 70, "packed", "pocket")
    assert "<b>Wanda 50% 4-bit</b>" in sentence(found, 25, 25, "packed", "pocket")
    assert "no measured point" in sentence(found, 10, 10, "packed", "pocket")
    assert "No difference" not in sentence(found, 70, 70, "packed", "pocket")
    label, best, chart, table = values_of(_kept(outcome), "pocket", "packed", 70, "perplexity", [])
    assert "Measured here" in label
    assert "Dense 4-bit" in best
    assert "beaten by Dense 4-bit" in table
    assert "come from a GGUF file" not in table  # pocket comes from a folder
    drawn = json.loads(chart["value"].plot)
    assert drawn["layout"]["shapes"][0]["x0"] == pytest.approx(70e-6)


def test_a_model_that_was_broken_to_begin_with_is_drawn(outcome: Any) -> None:
    for row in outcome.rows:
        row["perplexity"] *= 1e5
    drawn = values_of(_kept(outcome), "pocket", "packed", 70, "perplexity", [])[2]
    low, high = json.loads(drawn["value"].plot)["layout"]["yaxis"]["range"]
    assert low < math.log10(outcome.dense["perplexity"]) < high
    for row in outcome.rows:
        row["perplexity"] = math.inf
    assert "the model is broken" in values_of(_kept(outcome), "pocket", "packed", 70, "perplexity", [])[1]


def _kept(outcome: Any) -> str:
    keep(outcome)
    return outcome.run


def test_other_bytes_are_other_places(outcome: Any) -> None:
    assert [place.bytes for place in places(outcome, "file")] == [200, 60, 120, 40]
    assert OWN_FILE not in {place.label for place in places(outcome, "file")}


def test_what_cannot_be_shown_is_said(outcome: Any) -> None:
    for row in outcome.rows:
        row["bytes_packed"] = None
    label, best, chart, _ = values_of(_kept(outcome), "pocket", "packed", 50, "perplexity", [])
    assert "tick 8 and 4 bits under Advanced" in label
    assert (best, chart["visible"]) == ("", False)
    assert "must" in values_of("", "pocket", "packed", "many", "bits", None)[1]
    assert "no longer kept" in values_of("nobody's", "pocket", "packed", 50, "bits", 3)[1]
    recorded = values_of("", "smollm2", ["<b>"], 50, ["<b>"], ["<b>"])
    assert "Recorded" in recorded[0]
    assert "come from a GGUF file in 4 bits (Q4_1)" in recorded[3]


@pytest.mark.parametrize("kind", ["packed", "deflated", "file"])
def test_the_recorded_one_holds_every_bit(kind: str) -> None:
    found = places(recorded_sweep("bytes"), kind)
    assert len(found) == 3 + 2 * 3 * 3
    assert found[0].label == "Dense"


def test_other_models_are_held_against_this_one_by_bits_per_byte(outcome: Any, tmp_path: Path) -> None:
    """Another model with tokens half as long: the same perplexity is twice the bits per byte."""
    outcome.protocol["bytes_per_token"] = 4.0
    keep(outcome)
    rows = [{key: row[key] for key in COLUMNS} for row in outcome.rows]
    for row in rows:
        row["bytes_packed"] //= 2
        row["evaluation_sha256"] = "other tokens"
    file = _uploaded("other.json", to_json(PROTOCOL | {"source": "tiny/other", "bytes_per_token": 2.0}, rows))
    asked = (outcome.run, "pocket", "packed", 70, "perplexity")
    added, remove, lost, status, label, best, drawn, table = add_model(file, *asked, [])
    assert (len(added), remove["visible"], lost) == (1, True, "bits")
    assert "other is drawn beside it" in status
    dense = [line for line in table.split("<tr>") if "Dense<" in line]
    bits = math.log2(outcome.dense["perplexity"])
    assert [f"<td>{bits / length:.4g}</td>" in line for line, length in zip(dense, (2, 4), strict=True)] == [
        True
    ] * 2
    assert "other: Dense" in dense[0]
    names = [trace["name"] for trace in json.loads(drawn["value"].plot)["data"]]
    assert {"Dense", "other: Dense", "other: Wanda"} <= set(names)
    assert "bits per byte of text, dense pocket" in best
    assert "no comparison window by window" in best
    assert "other: 4 windows of 256 tokens of the built-in stories, a machine" in table
    assert "Measured here" in label
    # Perplexities of the two are never on one axis, another text is none of this model's, and a file drawn once.
    assert "other is drawn by bits per byte of text only" in values_of(*asked, added)[3]
    assert "other: Dense" not in values_of(*asked, added)[3]
    outcome.protocol["evaluation"] = "another text"
    moved = values_of(*asked[:-1], "bits", added)
    assert "other is not drawn: it was measured on the built-in stories" in moved[3]
    assert "other: Dense" not in moved[3]
    outcome.protocol["evaluation"] = PROTOCOL["evaluation"]
    again = _uploaded(
        "again.json", to_json(PROTOCOL | {"source": "tiny/other", "bytes_per_token": 2.0}, rows)
    )
    assert "is drawn already" in add_model(again, *asked, added)[3]
    assert remove_models(*asked, added)[0] == []


def test_a_name_out_of_a_file_is_no_markup(outcome: Any) -> None:
    outcome.protocol["bytes_per_token"] = 4.0
    keep(outcome)
    rows = [{key: row[key] for key in COLUMNS} for row in outcome.rows]
    hostile = PROTOCOL | {"source": "<a href=x>here</a><b>", "bytes_per_token": 2.0}
    file = _uploaded("hostile.json", to_json(hostile, rows))
    *_, status, _, best, drawn, table = add_model(file, outcome.run, "pocket", "packed", 70, "bits", [])
    assert "is drawn beside it" in status
    assert not any("<a" in said or "<b>'" in said for said in (status, best, table))
    names = [trace["name"] for trace in json.loads(drawn["value"].plot)["data"]]
    assert len(names) > 4
    assert not any("<" in name for name in names)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bytes_per_token": None}, "measured before bits per byte were"),
        ({"evaluation": "another text"}, "compare on one text only"),
        ({"eval_length": 2048}, "longer windows cost less"),
        ({"windows": 2}, "2 windows of 256 tokens, this one on 4 windows"),
        ({"source": "pocket"}, "is drawn already"),
        ({"bytes_per_token": -1}, "no saved measurement"),
        ({"bytes_per_token": "4"}, "no saved measurement"),
        ({"bytes_per_token": True}, "no saved measurement"),
    ],
)
def test_what_cannot_be_drawn_beside_it_is_refused(outcome: Any, change: dict[str, Any], reason: str) -> None:
    outcome.protocol["bytes_per_token"] = 4.0
    keep(outcome)
    rows = [{key: row[key] for key in COLUMNS} for row in outcome.rows]
    file = _uploaded(
        "other.json", to_json(PROTOCOL | {"source": "tiny/other", "bytes_per_token": 2.0} | change, rows)
    )
    added, remove, _, status, *_ = add_model(file, outcome.run, "pocket", "packed", 70, "perplexity", [])
    assert reason in status
    assert (added, remove["visible"]) == ([], False)


def _uploaded(name: str, text: str) -> str:
    """A file where Gradio puts uploads."""
    folder = Path(get_upload_folder()) / hashlib.sha256(f"{name}{text}".encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)
