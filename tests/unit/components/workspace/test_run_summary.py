"""Runs as the browser keeps them: what comes back is untrusted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.workspace.run_summary import as_json, read_runs, summary_of
from wanda_core.errors import Refused

PROTOCOL = {
    "source": "smollm2",
    "date": "2026-11-25",
    "windows": 8,
    "eval_length": 256,
    "evaluation": "Python <b>documentation</b>",
    "evaluation_sha256": "ab" * 32,
}


def row(method: str, sparsity: float, perplexity: float | None, error: str | None = None) -> dict[str, Any]:
    pattern = None if method == "dense" else "unstructured"
    return {
        "method": method,
        "pattern": pattern,
        "sparsity": sparsity,
        "perplexity": perplexity,
        "error": error,
    }


def kept() -> dict[str, Any]:
    """A run as the browser holds it."""
    rows = [row("dense", 0.0, 20.0), row("wanda", 0.5, 40.0), row("magnitude", 0.5, None, "failed")]
    return json.loads(as_json([summary_of("0123456789abcdef", PROTOCOL, rows, "amounts=50&methods=wanda")]))


def test_a_run_comes_back_as_it_was_kept() -> None:
    (run,) = read_runs(json.dumps(kept()))
    assert [(point.method, point.perplexity) for point in run.points] == [("dense", 20.0), ("wanda", 40.0)]
    assert run.dense == 20.0
    assert "<" not in run.text


@pytest.mark.parametrize("setting", ["recovery", "order"])
def test_runs_kept_before_there_was_a_setting_are_read(setting: str) -> None:
    content = kept()
    for point in content["runs"][0]["points"]:
        del point[setting]
    (run,) = read_runs(json.dumps(content))
    assert {getattr(point, setting) for point in run.points} == {"none"}


def test_an_order_is_kept() -> None:
    rows = [row("wanda", 0.5, 40.0) | {"pattern": "2:4", "order": "channels"}]
    (run,) = read_runs(as_json([summary_of("0123456789abcdef", PROTOCOL, rows, "")]))
    assert run.points[0].order == "channels"


def test_bits_are_kept_and_runs_from_before_there_were_any_are_read() -> None:
    rows = [
        row("dense", 0.0, 21.0) | {"bits": 8},
        row("dense", 0.0, 20.0),
        row("wanda", 0.5, 40.0) | {"bits": 4},
    ]
    content = json.loads(as_json([summary_of("0123456789abcdef", PROTOCOL, rows, "")]))
    (run,) = read_runs(json.dumps(content))
    assert [point.bits for point in run.points] == [8, 16, 4]
    assert run.dense == 20.0
    for point in content["runs"][0]["points"]:
        del point["bits"]
    assert {point.bits for point in read_runs(json.dumps(content))[0].points} == {16}


HOSTILE = {
    "unknown bits": {"points": [kept()["runs"][0]["points"][1] | {"bits": 5}]},
    "a list as bits": {"points": [kept()["runs"][0]["points"][1] | {"bits": [8]}]},
    "an unknown recovery": {"points": [kept()["runs"][0]["points"][1] | {"recovery": "<b>"}]},
    "an unknown order": {"points": [kept()["runs"][0]["points"][1] | {"order": "<b>"}]},
    "a list as order": {"points": [kept()["runs"][0]["points"][1] | {"order": ["channels"]}]},
    "markup in the name": {"source": "<img src=x onerror=alert(1)>"},
    "markup in the link": {"link": '"><script>'},
    "a script as link": {"link": "javascript:alert(1)"},
    "a broken emoji": {"note": "\ud83d"},
    "a number as note": {"note": 3},
    "no points": {"points": []},
    "an unknown method": {"points": [kept()["runs"][0]["points"][1] | {"method": "best"}]},
    "a perplexity below one": {"points": [kept()["runs"][0]["points"][1] | {"perplexity": 0}]},
    "a huge integer": {"points": [kept()["runs"][0]["points"][1] | {"perplexity": 10**301}]},
    "a truth as number": {"points": [kept()["runs"][0]["points"][1] | {"sparsity": True}]},
    "a field too many": {"more": 1},
    "an id of another form": {"id": "../../x"},
}


@pytest.mark.parametrize("what", list(HOSTILE))
def test_what_cannot_be_is_refused(what: str) -> None:
    content = kept()
    content["runs"][0] |= HOSTILE[what]
    with pytest.raises(Refused, match="no file of runs"):
        read_runs(json.dumps(content))


@pytest.mark.parametrize("text", ["", " ", "[]", "{}", "null", '{"schema": 1}', "[" * 10_000, 3, None])
def test_other_content(text: object) -> None:
    if text == "":
        assert read_runs("") == []
    else:
        with pytest.raises(Refused):
            read_runs(text)


def test_another_version_is_named() -> None:
    with pytest.raises(Refused, match="another version"):
        read_runs(json.dumps(kept() | {"schema": 99}))


def test_fifty_at_most() -> None:
    content = kept()
    content["runs"] = content["runs"] * 51
    with pytest.raises(Refused):
        read_runs(json.dumps(content))
